"""Rules of the data, the checks made from them, the gate that decides, and the report of it."""

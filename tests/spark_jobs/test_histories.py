import re

import pytest

from lake.feature_spec import DAYS, LINES
from spark_jobs.histories import KEYS, SPANNED

WORDS_OF_SQL = {"sum", "min", "max", "if", "and", "coalesce", "as_of"}


@pytest.mark.parametrize("table", KEYS)
def test_a_line_over_days_names_what_stretches_have(table):
    lines = {line.name: line.formula for line in LINES[table] if line.over == DAYS}
    assert set(SPANNED[table].values()) | {"first", "last"} <= lines.keys()
    named = {word for formula in lines.values() for word in re.findall(r"(?<![{\w])[a-z_]+", formula)}
    assert named - WORDS_OF_SQL <= {"first", "day", *SPANNED[table]}

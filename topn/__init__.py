"""Exact top-N: for every user the items of the largest dot products, on many threads, in bounded memory."""

from topn.exact import TopN, top_n
from topn.jit import Compiler
from topn.vectors import dots

__all__ = ["Compiler", "TopN", "dots", "top_n"]

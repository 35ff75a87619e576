"""Chaos: real drivers, SIGKILL at random places and moments, and what must hold afterwards.

python -m tests.chaos --kills 20 --seed 1

program     kills, resumes, checks, and says so in a few lines
forms       where trials run: inline, a private Ray, a cluster with nodes that die
strikes     the kinds of kills, drawn from a named seed
failpoints  kill inside a write or a commit; in the children alone, the product knows nothing
drivers     ``raybench run`` as a process, and its sweep
processes   who descends from whom, by /proc
ledgers     what stands in a home, by plain SQL
invariants  what must hold after any chaos, each of them tested by damaging a sound home
"""

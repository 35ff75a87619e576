"""A sweep as a job on a cluster, over the Ray Jobs API: submit, watch, stop, read.

``address`` and ``client`` reach the cluster, ``jobs`` says what runs there, ``shipping`` what is
sent, ``submitting`` sends it, ``following`` reads what a job says (``lines``), and ``errands`` are
short jobs that bring back a sweep's snapshot.
"""

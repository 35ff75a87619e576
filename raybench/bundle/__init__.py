"""One file with everything that a sweep's numbers come from, fit for strangers.

A zip file: per sweep its file, its ledger as JSON, the splits and the predictions of its finals;
besides, the versions it ran with and ``MANIFEST.json`` with the SHA-256 of every member. No host,
user, place or process is named (``raybench.anonymity``). The same sweep gives the same bytes.
Nothing is ever unpacked to the disk, and nothing in it is run.
"""

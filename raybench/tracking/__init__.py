"""MLflow as a projection of the ledger: idempotent, may lag, can be rebuilt (``raybench sync``).

The only package that imports mlflow, and never when it is itself imported: ``reader``, ``entries``
and ``worker`` are light, the rest is loaded by the tracking thread or by the verb that needs it.
"""

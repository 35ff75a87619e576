"""Trains one configuration of one backbone on one task; knows no ray, optuna or mlflow."""

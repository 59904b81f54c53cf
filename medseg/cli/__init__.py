"""Words on a command line to one function below."""

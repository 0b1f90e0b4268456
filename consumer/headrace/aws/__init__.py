"""Reaches. The only importers of botocore and aiobotocore."""

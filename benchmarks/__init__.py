"""What a record costs: `headrace run` beside a stock aiobotocore loop, on the same records and in the same run."""

"""headrace: a self-hosted Amazon Kinesis consumer service.

What a handler needs is here: the record it receives, the writes it returns, and the two signals it may raise.
"""

from headrace.errors import Reject, Retry
from headrace.model import Record
from headrace.operations import Condition, Delete, Increment, Put, Update

__all__ = ["Condition", "Delete", "Increment", "Put", "Record", "Reject", "Retry", "Update"]
__version__ = "0.1.0"

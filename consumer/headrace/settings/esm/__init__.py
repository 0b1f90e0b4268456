"""From a Lambda event source mapping to settings: what `aws lambda get-event-source-mapping` prints becomes headrace.toml.

`fields` says what becomes of each field, `document` takes a whole mapping, `written` makes the file. All pure.
"""

from headrace.settings.esm.document import Choices, chosen, taken
from headrace.settings.esm.fields import Line
from headrace.settings.esm.written import as_table, as_toml

__all__ = ["Choices", "Line", "as_table", "as_toml", "chosen", "taken"]

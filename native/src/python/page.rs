//! GetRecords' answer to records: the twin of `headrace.aws.kinesis.WirePage`.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFloat, PyInt, PyList, PyString, PyTuple, PyType};

use super::declined;
use crate::base64;
use crate::page::{Cursor, integer};

/// Makes records.
struct Maker<'py> {
    record: Bound<'py, PyType>,
    from_bytes: Bound<'py, PyAny>,
    little: Bound<'py, PyString>,
    shard: Bound<'py, PyString>,
    size: usize,
}

/// What a page holds: records, next iterator, milliseconds behind, the JSON of the children, continuation, bytes in all.
type Page<'py> = (
    Bound<'py, PyList>,
    Option<Bound<'py, PyString>>,
    Option<f64>,
    Option<Bound<'py, PyBytes>>,
    Option<Bound<'py, PyAny>>,
    usize,
);

/// A page out of its JSON. `record` is called with payload, partition key, sequence number, arrival and shard.
#[pyfunction]
pub fn decode_page<'py>(
    body: &Bound<'py, PyBytes>,
    record: Bound<'py, PyType>,
    shard: Bound<'py, PyString>,
) -> PyResult<Page<'py>> {
    let py = body.py();
    let data = body.as_bytes();
    let mut maker = Maker {
        record,
        from_bytes: py.get_type::<PyInt>().getattr(pyo3::intern!(py, "from_bytes"))?,
        little: PyString::intern(py, "little"),
        shard,
        size: 0,
    };
    let (mut records, mut next, mut behind, mut children, mut continuation) = (None, None, None, None, None);
    let mut cursor = Cursor::new(data);
    cursor.object(|cursor, name| {
        match name {
            b"Records" => {
                let list = PyList::empty(py);
                cursor.list(|cursor| list.append(maker.record(cursor)?))?;
                records = Some(list);
            }
            b"NextShardIterator" => next = text_or_null(py, cursor)?,
            b"MillisBehindLatest" => behind = if cursor.null() { None } else { Some(float(cursor)?) },
            b"ContinuationSequenceNumber" => {
                continuation = if cursor.null() { None } else { Some(maker.integer(cursor.string()?)?) };
            }
            b"ChildShards" => {
                children = if cursor.null() {
                    None
                } else {
                    let place = cursor.pass()?;
                    Some(PyBytes::new(py, data.get(place).unwrap_or_default()))
                };
            }
            _ => {
                cursor.pass()?;
            }
        }
        PyResult::Ok(())
    })?;
    cursor.end()?;
    match records {
        Some(records) => Ok((records, next, behind, children, continuation, maker.size)),
        None => declined("a page without records"),
    }
}

impl<'py> Maker<'py> {
    fn record(&mut self, cursor: &mut Cursor<'_>) -> PyResult<Bound<'py, PyAny>> {
        let py = self.record.py();
        let (mut data, mut key, mut number, mut arrival_s) = (None, None, None, None);
        cursor.object(|cursor, name| {
            match name {
                b"Data" => data = Some(decoded(py, cursor.string()?)?),
                b"PartitionKey" => key = Some(PyString::new(py, &cursor.text()?)),
                b"SequenceNumber" => number = Some(self.integer(cursor.string()?)?),
                b"ApproximateArrivalTimestamp" => arrival_s = Some(PyFloat::new(py, float(cursor)?).into_any()),
                _ => {
                    cursor.pass()?;
                }
            }
            PyResult::Ok(())
        })?;
        let (Some(data), Some(number), Some(arrival_s)) = (data, number, arrival_s) else {
            return declined("a record without data, number or arrival");
        };
        self.size += data.as_bytes().len();
        let key = key.unwrap_or_else(|| PyString::intern(py, ""));
        let arguments =
            PyTuple::new(py, [data.into_any(), key.into_any(), number, arrival_s, self.shard.clone().into_any()])?;
        self.record.call1(arguments)
    }

    fn integer(&self, digits: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        match integer(digits) {
            Some(bytes) => self.from_bytes.call1((PyBytes::new(self.record.py(), &bytes), &self.little)),
            None => declined("a sequence number of another form"),
        }
    }
}

fn decoded<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let Some(length) = base64::decoded_length(text) else {
        return declined("not base64");
    };
    PyBytes::new_with(
        py,
        length,
        |bytes| {
            if base64::decode_into(text, bytes) { Ok(()) } else { declined("not base64") }
        },
    )
}

fn text_or_null<'py>(py: Python<'py>, cursor: &mut Cursor<'_>) -> PyResult<Option<Bound<'py, PyString>>> {
    if cursor.null() { Ok(None) } else { Ok(Some(PyString::new(py, &cursor.text()?))) }
}

fn float(cursor: &mut Cursor<'_>) -> PyResult<f64> {
    let number = cursor.number()?;
    match std::str::from_utf8(number).ok().and_then(|text| text.parse::<f64>().ok()) {
        Some(value) if value.is_finite() => Ok(value),
        _ => declined("a number beyond all clocks"),
    }
}

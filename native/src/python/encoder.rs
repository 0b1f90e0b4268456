//! Items to request bodies.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple, PyType};

use super::declined;
use super::value::{Kinds, quote};
use super::values::Values;

/// Room for an item of a kilobyte, and for a request of 25.
const ITEM: usize = 2 << 10;
const REQUEST: usize = 64 << 10;

/// Encodes items; made with the classes of numbers that Python's own types do not tell.
#[pyclass(frozen, module = "headrace_native")]
pub struct Encoder {
    kinds: Kinds,
}

#[pymethods]
impl Encoder {
    #[new]
    fn new(number: Py<PyType>, decimal: Py<PyType>) -> Self {
        Self { kinds: Kinds { number, decimal } }
    }

    /// The item as DynamoDB's JSON.
    fn item<'py>(&self, py: Python<'py>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let mut out = Vec::with_capacity(ITEM);
        self.append(item, &mut out)?;
        Ok(PyBytes::new(py, &out))
    }

    /// The names of an item's attributes, and the JSON of the value of each.
    fn values<'py>(&self, py: Python<'py>, item: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyTuple>, Values)> {
        let Ok(item) = item.cast_exact::<PyDict>() else {
            return declined("an item that is no dict");
        };
        let mut values = Values::with_room(item.len(), ITEM);
        let mut names = Vec::with_capacity(item.len());
        for (name, value) in item.iter() {
            if !name.is_exact_instance_of::<PyString>() {
                return declined("a name that is no str");
            }
            names.push(name);
            values.push(|out| self.kinds.value(&value, 1, out))?;
        }
        Ok((PyTuple::new(py, names)?, values))
    }

    /// The body of a BatchWriteItem that puts these items into one table. Bytes are items as JSON already.
    fn puts<'py>(
        &self,
        py: Python<'py>,
        table: &Bound<'py, PyString>,
        items: &Bound<'py, PyList>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut out = Vec::with_capacity(REQUEST);
        out.extend_from_slice(b"{\"RequestItems\":{");
        quote(table, &mut out)?;
        out.extend_from_slice(b":[");
        for (place, item) in items.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"PutRequest\":{\"Item\":");
            if let Ok(text) = item.cast_exact::<PyBytes>() {
                out.extend_from_slice(text.as_bytes());
            } else {
                self.append(&item, &mut out)?;
            }
            out.extend_from_slice(b"}}");
        }
        out.extend_from_slice(b"]}}");
        Ok(PyBytes::new(py, &out))
    }
}

impl Encoder {
    fn append(&self, item: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
        match item.cast_exact::<PyDict>() {
            Ok(item) => self.kinds.item(item, out),
            Err(_) => declined("an item that is no dict"),
        }
    }
}

//! The values of an item beside their names, as the JSON that statements take, in one piece.

use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use super::declined;
use super::value::quote;

/// What stands between two values.
const COMMA: usize = 1;

/// Values by their place.
#[pyclass(frozen, module = "headrace_native")]
#[derive(Default)]
pub struct Values {
    /// One behind the other, with commas between them.
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Values {
    /// With room for so many values of so many bytes in all.
    pub fn with_room(values: usize, bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes + values), ends: Vec::with_capacity(values) }
    }

    /// Appends what `write` writes, which is one value.
    pub fn push<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        if !self.ends.is_empty() {
            self.text.push(b',');
        }
        write(&mut self.text)?;
        self.ends.push(self.text.len());
        Ok(())
    }

    fn value(&self, place: usize) -> Option<&[u8]> {
        let begin = match place.checked_sub(1) {
            Some(before) => self.ends.get(before)? + COMMA,
            None => 0,
        };
        self.text.get(begin..*self.ends.get(place)?)
    }
}

#[pymethods]
impl Values {
    fn __len__(&self) -> usize {
        self.ends.len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, place: usize) -> PyResult<Bound<'py, PyBytes>> {
        match self.value(place) {
            Some(value) => Ok(PyBytes::new(py, value)),
            None => Err(PyIndexError::new_err("there is no such value")),
        }
    }

    /// A list of all of them, with `more` behind: texts, and bytes that are JSON already.
    fn listed<'py>(&self, py: Python<'py>, more: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyBytes>> {
        let mut out = Vec::with_capacity(self.text.len() + 256);
        out.push(b'[');
        out.extend_from_slice(&self.text);
        for (place, value) in more.iter().enumerate() {
            if place > 0 || !self.ends.is_empty() {
                out.push(b',');
            }
            append(&value, &mut out)?;
        }
        out.push(b']');
        Ok(PyBytes::new(py, &out))
    }

    /// The same in another order: `places` are numbers of two bytes, the least significant first; `more` follow the values.
    fn arranged<'py>(
        &self,
        py: Python<'py>,
        places: &[u8],
        more: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut out = Vec::with_capacity(self.text.len() + 256);
        out.push(b'[');
        let mut rest = places;
        while let Some((place, behind)) = rest.split_first_chunk::<2>() {
            if out.len() > 1 {
                out.push(b',');
            }
            let place = usize::from(u16::from_le_bytes(*place));
            match self.value(place) {
                Some(value) => out.extend_from_slice(value),
                None => append(&more.get_item(place.saturating_sub(self.ends.len()))?, &mut out)?,
            }
            rest = behind;
        }
        out.push(b']');
        Ok(PyBytes::new(py, &out))
    }
}

fn append(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    if let Ok(json) = value.cast_exact::<PyBytes>() {
        out.extend_from_slice(json.as_bytes());
        return Ok(());
    }
    let Ok(text) = value.cast_exact::<PyString>() else {
        return declined("a further value that is neither text nor JSON");
    };
    out.extend_from_slice(b"{\"S\":");
    quote(text, out)?;
    out.push(b'}');
    Ok(())
}

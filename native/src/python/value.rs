//! Python values to attribute values, by their exact types: the twin of `headrace.core.items.attributes`.

use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple, PyType,
};

use super::declined;
use crate::object::MOST_DEPTH;
use crate::{base64, number, text};

/// The types that only Python has.
pub struct Kinds {
    /// `headrace.core.items.N`.
    pub number: Py<PyType>,
    /// `decimal.Decimal`.
    pub decimal: Py<PyType>,
}

type Write = fn(&Kinds, &Bound<'_, PyAny>, &mut Vec<u8>) -> PyResult<()>;

/// Floats between these are written by Python as by Rust: digits and a point.
const PLAIN_FLOATS: std::ops::Range<f64> = 1e-4..1e16;

impl Kinds {
    /// Appends the names and values of an item, with braces around them.
    pub fn item(&self, item: &Bound<'_, PyDict>, out: &mut Vec<u8>) -> PyResult<()> {
        self.members(item, 1, out)
    }

    fn members(&self, members: &Bound<'_, PyDict>, depth: usize, out: &mut Vec<u8>) -> PyResult<()> {
        out.push(b'{');
        for (place, (name, value)) in members.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            let Ok(name) = name.cast_exact::<PyString>() else {
                return declined("a name that is no str");
            };
            quote(name, out)?;
            out.push(b':');
            self.value(&value, depth, out)?;
        }
        out.push(b'}');
        Ok(())
    }

    /// Appends one attribute value.
    pub fn value(&self, value: &Bound<'_, PyAny>, depth: usize, out: &mut Vec<u8>) -> PyResult<()> {
        if depth > MOST_DEPTH {
            return declined("nested deeper than 32 levels");
        }
        if let Ok(text) = value.cast_exact::<PyString>() {
            out.extend_from_slice(b"{\"S\":");
            quote(text, out)?;
            out.push(b'}');
        } else if let Ok(map) = value.cast_exact::<PyDict>() {
            out.extend_from_slice(b"{\"M\":");
            self.members(map, depth + 1, out)?;
            out.push(b'}');
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            self.list(list.iter(), depth, out)?;
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            self.list(tuple.iter(), depth, out)?;
        } else if value.is_none() {
            out.extend_from_slice(b"{\"NULL\":true}");
        } else if let Ok(truth) = value.cast_exact::<PyBool>() {
            out.extend_from_slice(if truth.is_true() { b"{\"BOOL\":true}" } else { b"{\"BOOL\":false}" });
        } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
            binary(bytes.as_bytes(), out);
        } else if let Ok(bytes) = value.cast_exact::<PyByteArray>() {
            binary(&bytes.to_vec(), out);
        } else if let Ok(set) = value.cast_exact::<PySet>() {
            self.set(&set.iter().collect::<Vec<_>>(), out)?;
        } else if let Ok(set) = value.cast_exact::<PyFrozenSet>() {
            self.set(&set.iter().collect::<Vec<_>>(), out)?;
        } else {
            out.extend_from_slice(b"{\"N\":");
            self.number(value, out)?;
            out.push(b'}');
        }
        Ok(())
    }

    fn list<'py>(
        &self,
        values: impl Iterator<Item = Bound<'py, PyAny>>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> PyResult<()> {
        out.extend_from_slice(b"{\"L\":[");
        for (place, value) in values.enumerate() {
            if place > 0 {
                out.push(b',');
            }
            self.value(&value, depth + 1, out)?;
        }
        out.extend_from_slice(b"]}");
        Ok(())
    }

    fn set(&self, members: &[Bound<'_, PyAny>], out: &mut Vec<u8>) -> PyResult<()> {
        if members.is_empty() {
            return declined("an empty set");
        }
        let (kind, write): (_, Write) = if members.iter().all(Bound::is_exact_instance_of::<PyString>) {
            ("SS", |_, member, out| quote(member.cast_exact()?, out))
        } else if members.iter().all(Bound::is_exact_instance_of::<PyBytes>) {
            ("BS", |_, member, out| {
                out.push(b'"');
                base64::encode(member.cast_exact::<PyBytes>()?.as_bytes(), out);
                out.push(b'"');
                Ok(())
            })
        } else {
            ("NS", Self::number)
        };
        out.extend_from_slice(b"{\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\":[");
        for (place, member) in members.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            write(self, member, out)?;
        }
        out.extend_from_slice(b"]}");
        Ok(())
    }

    /// Appends a number as text in quotes.
    fn number(&self, value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
        let py = value.py();
        if let Ok(float) = value.cast_exact::<PyFloat>() {
            return quote_float(float, out);
        }
        if let Ok(integer) = value.cast_exact::<PyInt>() {
            return match integer.extract::<i64>() {
                Ok(small) => {
                    out.extend_from_slice(format!("\"{small}\"").as_bytes());
                    Ok(())
                }
                Err(_) => match integer.str() {
                    Ok(text) => quote_number(text.to_str()?, out),
                    Err(_) => declined("an integer of too many digits"),
                },
            };
        }
        let kind = value.get_type();
        if kind.is(&self.decimal) {
            let text = value.str()?;
            let text = text.to_str()?;
            if text.bytes().any(|byte| byte.is_ascii_alphabetic() && byte != b'E') {
                return declined("neither NaN nor infinity");
            }
            return quote_number(text, out);
        }
        if kind.is(&self.number) {
            let text = value.getattr(pyo3::intern!(py, "N"))?;
            let Ok(text) = text.cast_exact::<PyString>() else {
                return declined("a number that is no text");
            };
            if !number::fits(text.to_str().unwrap_or_default().as_bytes()) {
                return declined("a number that DynamoDB does not take");
            }
            return quote(text, out);
        }
        declined("a type without a row")
    }
}

fn quote_float(float: &Bound<'_, PyFloat>, out: &mut Vec<u8>) -> PyResult<()> {
    let value = float.value();
    if !value.is_finite() {
        return declined("neither NaN nor infinity");
    }
    if PLAIN_FLOATS.contains(&value.abs()) {
        out.extend_from_slice(format!("\"{value:?}\"").as_bytes());
        return Ok(());
    }
    quote_number(float.repr()?.to_str()?, out)
}

fn quote_number(text: &str, out: &mut Vec<u8>) -> PyResult<()> {
    if !number::fits(text.as_bytes()) {
        return declined("a number that DynamoDB does not take");
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
    Ok(())
}

/// Appends text in quotes.
pub fn quote(text: &Bound<'_, PyString>, out: &mut Vec<u8>) -> PyResult<()> {
    let Ok(text) = text.to_str() else {
        return declined("text with an unpaired surrogate");
    };
    out.push(b'"');
    text::escape(text, out);
    out.push(b'"');
    Ok(())
}

fn binary(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"B\":\"");
    base64::encode(bytes, out);
    out.extend_from_slice(b"\"}");
}

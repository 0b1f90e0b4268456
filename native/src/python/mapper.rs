//! Payloads to items by the settings: the twin of `headrace.handlers.mapping`.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple, PyType};

use super::declined;
use super::values::Values;
use crate::moment::Moments;
use crate::object::{Attributes, Name};
use crate::{number, text};

/// Lists of names that are kept as tuples: names may be data.
const MOST_NAMES: usize = 4096;

/// A piece of a template.
enum Part {
    /// Escaped already.
    Literal(Vec<u8>),
    Field(Vec<Name>),
    PartitionKey,
    Sequence,
    Shard,
    Arrival,
    /// A function of the record.
    Call(Py<PyAny>),
}

/// Where the value of an attribute comes from.
enum Source {
    Text(Vec<Part>),
    Number(Vec<Part>),
    /// The payload itself has it, and it is text, or a number.
    PayloadText,
    PayloadNumber,
    /// Seconds after the arrival.
    Expiry(f64),
}

struct Attribute {
    place: Name,
    source: Source,
    /// Whether it is a part of the key.
    is_key: bool,
}

/// Room for one record, kept for the next.
#[derive(Default)]
struct Room {
    payload: Attributes,
    /// The values of what is added, one behind the other.
    added: Vec<u8>,
    /// Of each attribute: where it stands there, and which member of the payload it replaces.
    places: Vec<(Range<usize>, Option<usize>)>,
    piece: Vec<u8>,
    moments: Moments,
}

/// Makes items of records by the rules that it is made with.
#[pyclass(frozen, module = "headrace_native")]
pub struct ItemMapper {
    attributes: Vec<Attribute>,
    looked_at: Vec<(Py<PyString>, Name)>,
    number: Py<PyType>,
    decimal: Py<PyType>,
    room: Mutex<Option<Room>>,
    names: Mutex<HashMap<Vec<u8>, Py<PyTuple>>>,
    /// Those of the record before, which are mostly those of the next.
    last_names: Mutex<Option<(Vec<u8>, Py<PyTuple>)>>,
}

type Item<'py> = (Bound<'py, PyBytes>, Bound<'py, PyTuple>, Bound<'py, PyDict>);

type Parts<'py> = (Bound<'py, PyTuple>, Values, Bound<'py, PyTuple>, Bound<'py, PyDict>);

type Rule<'py> = (Bound<'py, PyString>, String, Vec<(String, Bound<'py, PyAny>)>);

#[pymethods]
impl ItemMapper {
    /// `rules` are the attributes beside the payload's: name, kind, parts. `looked_at` are fields told beside the key.
    #[new]
    fn new(
        rules: Vec<Rule<'_>>,
        looked_at: Vec<Bound<'_, PyString>>,
        number: Py<PyType>,
        decimal: Py<PyType>,
    ) -> PyResult<Self> {
        Ok(Self {
            attributes: rules.into_iter().map(attribute).collect::<PyResult<_>>()?,
            looked_at: looked_at
                .into_iter()
                .map(|name| Ok((name.clone().unbind(), Name::new(name.to_str()?))))
                .collect::<PyResult<_>>()?,
            number,
            decimal,
            room: Mutex::default(),
            names: Mutex::default(),
            last_names: Mutex::default(),
        })
    }

    /// The item of a record as JSON, its key, and what is looked at.
    fn item<'py>(&self, record: &Bound<'py, PyAny>) -> PyResult<Item<'py>> {
        let mut room = self.take_room();
        let (key, fields) = self.fill(record, &mut room)?;
        let text = PyBytes::new(record.py(), whole(&mut room, &self.attributes));
        self.keep(room);
        Ok((text, key, fields))
    }

    /// The same in parts: the names of the attributes, the JSON of each value, its key, and what is looked at.
    fn values<'py>(&self, record: &Bound<'py, PyAny>) -> PyResult<Parts<'py>> {
        let py = record.py();
        let mut room = self.take_room();
        let (key, fields) = self.fill(record, &mut room)?;
        let mut values = Values::with_room(
            room.places.len() + room.payload.members.len(),
            room.payload.text.len() + room.added.len(),
        );
        let mut names = std::mem::take(&mut room.piece);
        names.clear();
        each(&room, &self.attributes, |name, value| {
            names.extend_from_slice(name);
            names.push(b',');
            values.push(|out| {
                out.extend_from_slice(value);
                PyResult::Ok(())
            })
        })?;
        let tuple = self.tuple(py, &names)?;
        room.piece = names;
        self.keep(room);
        Ok((tuple, values, key, fields))
    }
}

impl ItemMapper {
    fn take_room(&self) -> Room {
        self.room.try_lock().ok().and_then(|mut kept| kept.take()).unwrap_or_default()
    }

    fn keep(&self, room: Room) {
        if let Ok(mut kept) = self.room.try_lock() {
            *kept = Some(room);
        }
    }

    fn fill<'py>(
        &self,
        record: &Bound<'py, PyAny>,
        room: &mut Room,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let py = record.py();
        let data = record.getattr(pyo3::intern!(py, "data"))?;
        let Ok(data) = data.cast_exact::<PyBytes>() else {
            return declined("a payload that is no bytes");
        };
        room.payload.read(data.as_bytes())?;
        room.added.clear();
        room.places.clear();
        let mut key = Vec::with_capacity(2);
        let mut facts = Facts { record, moments: std::mem::take(&mut room.moments), sequence: None };
        for attribute in &self.attributes {
            let begin = room.added.len();
            let replaced = room.payload.find(&attribute.place);
            self.append(attribute, replaced, &mut facts, room)?;
            let value = begin..room.added.len();
            let is_payloads = value.is_empty();
            if attribute.is_key {
                let told = if is_payloads {
                    replaced.and_then(|place| room.payload.value(place))
                } else {
                    room.added.get(value.clone())
                };
                key.push(told_value(py, told.unwrap_or_default(), &self.decimal)?);
            }
            room.places.push((value, replaced));
        }
        let fields = PyDict::new(py);
        for (name, place) in &self.looked_at {
            if let Some(value) = room.payload.find(place).and_then(|member| room.payload.value(member))
                && let Ok(told) = told_value(py, value, &self.number)
            {
                fields.set_item(name, told)?;
            }
        }
        room.moments = facts.moments;
        Ok((PyTuple::new(py, key)?, fields))
    }

    /// Appends the attribute value to what is added; nothing where the payload's own is the one.
    fn append(
        &self,
        attribute: &Attribute,
        own: Option<usize>,
        facts: &mut Facts<'_, '_>,
        room: &mut Room,
    ) -> PyResult<()> {
        let kind = match &attribute.source {
            Source::PayloadText => b"{\"S\":",
            Source::PayloadNumber | Source::Expiry(_) => b"{\"N\":",
            Source::Text(parts) => {
                room.added.extend_from_slice(b"{\"S\":\"");
                for part in parts {
                    part.append(facts, &room.payload, &mut room.added)?;
                }
                room.added.extend_from_slice(b"\"}");
                return Ok(());
            }
            Source::Number(parts) => {
                room.piece.clear();
                for part in parts {
                    part.append(facts, &room.payload, &mut room.piece)?;
                }
                if !is_key_number(&room.piece) {
                    return declined("a template that gives no number");
                }
                room.added.extend_from_slice(b"{\"N\":\"");
                room.added.extend_from_slice(&room.piece);
                room.added.extend_from_slice(b"\"}");
                return Ok(());
            }
        };
        if let Source::Expiry(after_s) = attribute.source {
            let expiry = (facts.arrival_s()? + after_s).trunc();
            if !(0.0..1e15).contains(&expiry) {
                return declined("an arrival beyond all clocks");
            }
            room.added.extend_from_slice(format!("{{\"N\":\"{}\"}}", expiry as i64).as_bytes());
            return Ok(());
        }
        match own.and_then(|place| room.payload.value(place)) {
            Some(value) if value.starts_with(kind) => Ok(()),
            _ => declined("a payload without the item's key"),
        }
    }

    /// The tuple of these names, which are quoted and each followed by a comma.
    fn tuple<'py>(&self, py: Python<'py>, names: &[u8]) -> PyResult<Bound<'py, PyTuple>> {
        if let Ok(last) = self.last_names.try_lock()
            && let Some((same, tuple)) = last.as_ref()
            && same == names
        {
            return Ok(tuple.bind(py).clone());
        }
        let tuple = self.known_tuple(py, names)?;
        if let Ok(mut last) = self.last_names.try_lock() {
            *last = Some((names.to_vec(), tuple.clone().unbind()));
        }
        Ok(tuple)
    }

    fn known_tuple<'py>(&self, py: Python<'py>, names: &[u8]) -> PyResult<Bound<'py, PyTuple>> {
        if let Ok(known) = self.names.try_lock()
            && let Some(tuple) = known.get(names)
        {
            return Ok(tuple.bind(py).clone());
        }
        let mut texts = Vec::new();
        let mut rest = names;
        while let Some(inside) = rest.strip_prefix(b"\"") {
            let mut end = 0;
            loop {
                end += text::plain(inside.get(end..).unwrap_or_default());
                match inside.get(end) {
                    Some(b'\\') => end += 2,
                    _ => break,
                }
            }
            texts.push(text::unescape(inside.get(..end).unwrap_or_default())?);
            rest = inside.get(end + 2..).unwrap_or_default();
        }
        let tuple = PyTuple::new(py, texts)?;
        if let Ok(mut known) = self.names.try_lock() {
            if known.len() >= MOST_NAMES {
                known.clear();
            }
            known.insert(names.to_vec(), tuple.clone().unbind());
        }
        Ok(tuple)
    }
}

/// What is known of the record beside its payload.
struct Facts<'a, 'py> {
    record: &'a Bound<'py, PyAny>,
    moments: Moments,
    sequence: Option<Bound<'py, PyString>>,
}

impl<'py> Facts<'_, 'py> {
    fn text(&self, name: &Bound<'py, PyString>, out: &mut Vec<u8>) -> PyResult<()> {
        append_text(&self.record.getattr(name)?, out)
    }

    fn arrival_s(&self) -> PyResult<f64> {
        self.record.getattr(pyo3::intern!(self.record.py(), "arrival_s"))?.extract()
    }

    /// The sequence number, inside of an aggregate the position.
    fn sequence(&mut self, out: &mut Vec<u8>) -> PyResult<()> {
        let py = self.record.py();
        let text = if let Some(text) = &self.sequence {
            text
        } else {
            let sub: i64 = self.record.getattr(pyo3::intern!(py, "sub_sequence_number"))?.extract()?;
            let name = if sub < 0 { pyo3::intern!(py, "sequence_number") } else { pyo3::intern!(py, "position") };
            self.sequence.insert(self.record.getattr(name)?.str()?)
        };
        out.extend_from_slice(text.to_str()?.as_bytes());
        Ok(())
    }
}

impl Part {
    fn append(&self, facts: &mut Facts<'_, '_>, payload: &Attributes, out: &mut Vec<u8>) -> PyResult<()> {
        let py = facts.record.py();
        match self {
            Self::Literal(text) => out.extend_from_slice(text),
            Self::Field(path) => match payload.at(path).and_then(scalar) {
                Some((_, inside)) => out.extend_from_slice(inside),
                None => return declined("a payload without a field of the template"),
            },
            Self::PartitionKey => return facts.text(pyo3::intern!(py, "partition_key"), out),
            Self::Shard => return facts.text(pyo3::intern!(py, "shard_id"), out),
            Self::Sequence => return facts.sequence(out),
            Self::Arrival => {
                if !facts.moments.append(facts.arrival_s()?, out) {
                    return declined("an arrival beyond four digits of a year");
                }
            }
            Self::Call(function) => return append_text(&function.bind(py).call1((facts.record,))?, out),
        }
        Ok(())
    }
}

fn append_text(text: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    match text.cast::<PyString>().ok().and_then(|text| text.to_str().ok()) {
        Some(text) => text::escape(text, out),
        None => return declined("a fact of the record that is no text"),
    }
    Ok(())
}

/// Kind and inside of a text, a number or a truth value, as [`Attributes`] writes them.
fn scalar(value: &[u8]) -> Option<(u8, &[u8])> {
    for (prefix, suffix, kind) in
        [(&b"{\"S\":\""[..], &b"\"}"[..], b'S'), (b"{\"N\":\"", b"\"}", b'N'), (b"{\"BOOL\":", b"}", b'B')]
    {
        if let Some(inside) = value.strip_prefix(prefix) {
            return Some((kind, inside.strip_suffix(suffix)?));
        }
    }
    None
}

/// An attribute value as the Python value that is compared; a number of the class that is wanted.
fn told_value<'py>(py: Python<'py>, value: &[u8], number: &Py<PyType>) -> PyResult<Bound<'py, PyAny>> {
    let Some((kind, inside)) = scalar(value) else {
        return declined("a value that is no text, number or truth value");
    };
    match kind {
        b'N' => number.bind(py).call1((utf8(inside)?,)),
        b'B' => Ok((inside == b"true").into_pyobject(py)?.to_owned().into_any()),
        _ if inside.contains(&b'\\') => Ok(PyString::new(py, &text::unescape(inside)?).into_any()),
        _ => Ok(PyString::new(py, utf8(inside)?).into_any()),
    }
}

fn utf8(bytes: &[u8]) -> PyResult<&str> {
    std::str::from_utf8(bytes).or_else(|_| declined("not UTF-8"))
}

/// Whether the text is a number as a template may give one: 38 digits before and behind the point, three of exponent.
fn is_key_number(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let run = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = run(unsigned);
    let mut rest = unsigned.get(whole..).unwrap_or_default();
    if !(1..=38).contains(&whole) {
        return false;
    }
    if let Some(behind) = rest.strip_prefix(b".") {
        let fraction = run(behind);
        if !(1..=38).contains(&fraction) {
            return false;
        }
        rest = behind.get(fraction..).unwrap_or_default();
    }
    if let Some(behind) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let digits = behind.strip_prefix(b"-").or_else(|| behind.strip_prefix(b"+")).unwrap_or(behind);
        if !(1..=3).contains(&run(digits)) {
            return false;
        }
        rest = digits.get(run(digits)..).unwrap_or_default();
    }
    rest.is_empty() && number::fits(text)
}

/// The whole item, in the room of its payload.
fn whole<'a>(room: &'a mut Room, attributes: &[Attribute]) -> &'a [u8] {
    if room.places.iter().any(|(value, replaced)| replaced.is_some() && !value.is_empty()) {
        let mut fresh = std::mem::take(&mut room.piece);
        fresh.clear();
        fresh.push(b'{');
        let written = each(room, attributes, |name, value| {
            if fresh.len() > 1 {
                fresh.push(b',');
            }
            fresh.extend_from_slice(name);
            fresh.push(b':');
            fresh.extend_from_slice(value);
            Ok(())
        });
        debug_assert!(written.is_ok());
        fresh.push(b'}');
        room.piece = fresh;
        return &room.piece;
    }
    let text = &mut room.payload.text;
    for (attribute, (value, _)) in attributes.iter().zip(&room.places) {
        if value.is_empty() {
            continue;
        }
        if text.len() > 1 {
            text.push(b',');
        }
        text.extend_from_slice(&attribute.place.quoted);
        text.push(b':');
        text.extend_from_slice(room.added.get(value.clone()).unwrap_or_default());
    }
    text.push(b'}');
    text
}

/// Each name with its value, in the item's order: the payload's, and behind them what is added and replaces none.
fn each(room: &Room, attributes: &[Attribute], mut tell: impl FnMut(&[u8], &[u8]) -> PyResult<()>) -> PyResult<()> {
    let value_of = |value: &Range<usize>| room.added.get(value.clone()).unwrap_or_default();
    for (place, member) in room.payload.members.iter().enumerate() {
        let instead = room.places.iter().find(|(value, replaced)| *replaced == Some(place) && !value.is_empty());
        let value = instead.map_or_else(|| room.payload.value(place).unwrap_or_default(), |(value, _)| value_of(value));
        tell(room.payload.text.get(member.name()).unwrap_or_default(), value)?;
    }
    for (attribute, (value, replaced)) in attributes.iter().zip(&room.places) {
        if replaced.is_none() && !value.is_empty() {
            tell(&attribute.place.quoted, value_of(value))?;
        }
    }
    Ok(())
}

// --- rules ---------------------------------------------------------------------------------------------------------------

fn attribute((name, kind, parts): Rule<'_>) -> PyResult<Attribute> {
    let place = Name::new(name.to_str()?);
    let is_key = matches!(kind.as_str(), "key_text" | "key_number" | "payload_text" | "payload_number");
    let source = match kind.as_str() {
        "key_text" | "text" => Source::Text(parts.into_iter().map(part).collect::<PyResult<_>>()?),
        "key_number" => Source::Number(parts.into_iter().map(part).collect::<PyResult<_>>()?),
        "payload_text" => Source::PayloadText,
        "payload_number" => Source::PayloadNumber,
        "expiry" => match parts.first() {
            Some((_, after_s)) => Source::Expiry(after_s.extract()?),
            None => return Err(PyValueError::new_err("expiry without its seconds")),
        },
        _ => return Err(PyValueError::new_err(format!("no kind of attribute: {kind}"))),
    };
    Ok(Attribute { place, source, is_key })
}

fn part((kind, argument): (String, Bound<'_, PyAny>)) -> PyResult<Part> {
    Ok(match kind.as_str() {
        "literal" => {
            let mut escaped = Vec::new();
            append_text(&argument, &mut escaped)?;
            Part::Literal(escaped)
        }
        "field" => Part::Field(argument.extract::<Vec<String>>()?.iter().map(|name| Name::new(name)).collect()),
        "partition_key" => Part::PartitionKey,
        "sequence_number" => Part::Sequence,
        "shard_id" => Part::Shard,
        "arrival" => Part::Arrival,
        "call" => Part::Call(argument.unbind()),
        _ => return Err(PyValueError::new_err(format!("no part of a template: {kind}"))),
    })
}

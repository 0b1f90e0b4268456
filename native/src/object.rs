//! A JSON object to the attributes of an item in DynamoDB's own JSON, checked from its first byte to its last.
//!
//! One pass, no tree: each value is written as its attribute value where it stands. What is remembered of a name is where
//! it and its value were written, so that of names that come twice the last value stands in the first one's place, as in
//! a Python dict.

use std::ops::Range;

use crate::fault::Fault;
use crate::{number, text};

/// Levels that an item may nest (`DynamoDB` developer guide, "Quotas"); its own values are the first.
pub const MOST_DEPTH: usize = 32;

/// Names of one object up to which each new one is compared with those before it; beyond, all are sorted at its end.
const COMPARED: usize = 128;

const COLON: usize = 1;

/// A name and its value, by where they stand in the text.
#[derive(Clone, Debug)]
pub struct Member {
    /// The quoted name's first byte.
    pub begin: usize,
    /// The colon.
    pub colon: usize,
    /// Behind the value.
    pub end: usize,
    mark: u64,
}

impl Member {
    /// Where the name stands, quotes included.
    #[must_use]
    pub fn name(&self) -> Range<usize> {
        self.begin..self.colon
    }

    /// Where the value stands.
    #[must_use]
    pub fn value(&self) -> Range<usize> {
        self.colon + COLON..self.end
    }
}

/// A name as it is written, for finding it.
#[derive(Clone, Debug)]
pub struct Name {
    /// The text between quotes, quotes included.
    pub quoted: Vec<u8>,
    mark: u64,
}

impl Name {
    /// Of this text.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut quoted = vec![b'"'];
        text::escape(name, &mut quoted);
        quoted.push(b'"');
        Self { mark: mark(&quoted), quoted }
    }
}

/// The attributes of one payload; its room is kept for the next.
#[derive(Debug, Default)]
pub struct Attributes {
    /// `{` and the names with their values, without the closing brace.
    pub text: Vec<u8>,
    /// Those of the top level, in their order.
    pub members: Vec<Member>,
}

impl Attributes {
    /// Reads a payload.
    ///
    /// # Errors
    ///
    /// For what is no JSON object in UTF-8, nests deeper than [`MOST_DEPTH`], or has a number that `DynamoDB` refuses.
    pub fn read(&mut self, data: &[u8]) -> Result<(), Fault> {
        if simdutf8::basic::from_utf8(data).is_err() {
            let at = std::str::from_utf8(data).err().map_or(0, |found| found.valid_up_to());
            return Err(Fault::new(at, "not UTF-8"));
        }
        self.text.clear();
        self.text.reserve(data.len() * 2);
        self.members.clear();
        let mut reader = Reader { data, at: 0, text: &mut self.text, members: &mut self.members };
        reader.space();
        if reader.peek() != Some(b'{') {
            return Err(Fault::new(reader.at, "not a JSON object"));
        }
        reader.at += 1;
        reader.text.push(b'{');
        reader.object(1)?;
        reader.space();
        if reader.at < data.len() {
            return Err(Fault::new(reader.at, "something behind the object"));
        }
        Ok(())
    }

    /// Where a top-level attribute stands among the members.
    #[must_use]
    pub fn find(&self, name: &Name) -> Option<usize> {
        self.members
            .iter()
            .position(|member| member.mark == name.mark && self.text.get(member.name()) == Some(name.quoted.as_slice()))
    }

    /// The attribute value of a member.
    #[must_use]
    pub fn value(&self, place: usize) -> Option<&[u8]> {
        self.text.get(self.members.get(place)?.value())
    }

    /// The attribute value at a path of names.
    #[must_use]
    pub fn at(&self, path: &[Name]) -> Option<&[u8]> {
        let (first, rest) = path.split_first()?;
        let mut value = self.value(self.find(first)?)?;
        for name in rest {
            value = inner(value, &name.quoted)?;
        }
        Some(value)
    }
}

struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    text: &'a mut Vec<u8>,
    members: &'a mut Vec<Member>,
}

impl Reader<'_> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.data.get(self.at).copied()
    }

    #[inline]
    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn fault<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(Fault::new(self.at, what))
    }

    /// The members behind an opening brace, to the closing one. On the top level (`depth` 1) they stay known.
    fn object(&mut self, depth: usize) -> Result<(), Fault> {
        let base = self.members.len();
        let mut twice = false;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let member = self.name()?;
            twice = twice || self.is_known(&member, base);
            let place = self.members.len();
            self.members.push(member);
            self.value(depth)?;
            let end = self.text.len();
            if let Some(member) = self.members.get_mut(place) {
                member.end = end;
            }
            self.space();
            match self.peek() {
                Some(b',') => self.text.push(b','),
                Some(b'}') => break,
                _ => return self.fault("neither a comma nor the end of an object"),
            }
            self.at += 1;
            self.space();
        }
        self.at += 1;
        if twice || self.members.len() - base > COMPARED {
            self.once(base);
        }
        if depth > 1 {
            self.members.truncate(base);
        }
        Ok(())
    }

    fn name(&mut self) -> Result<Member, Fault> {
        if self.peek() != Some(b'"') {
            return self.fault("not a name");
        }
        let begin = self.text.len();
        self.string()?;
        let colon = self.text.len();
        self.space();
        if self.peek() != Some(b':') {
            return self.fault("not a colon");
        }
        self.at += 1;
        self.space();
        let mark = mark(self.text.get(begin..).unwrap_or_default());
        self.text.push(b':');
        Ok(Member { begin, colon, end: colon, mark })
    }

    /// Whether the name stands in its object already; of many names only the end tells.
    fn is_known(&self, member: &Member, base: usize) -> bool {
        let before = self.members.get(base..).unwrap_or_default();
        before.len() < COMPARED
            && before
                .iter()
                .any(|other| other.mark == member.mark && self.text.get(other.name()) == self.text.get(member.name()))
    }

    /// Of members with the same name leaves one: in the place of the first, with the value of the last.
    fn once(&mut self, base: usize) {
        let members = self.members.split_off(base);
        let Some(begin) = members.first().map(|member| member.begin) else {
            return;
        };
        let name = |place: &usize| members.get(*place).and_then(|member| self.text.get(member.name()));
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by(|one, other| name(one).cmp(&name(other)).then(one.cmp(other)));
        let mut last_of: Vec<Option<usize>> = vec![None; members.len()];
        for same in order.chunk_by(|one, other| name(one) == name(other)) {
            if let (Some(&first), Some(&last)) = (same.first(), same.last())
                && let Some(slot) = last_of.get_mut(first)
            {
                *slot = Some(last);
            }
        }
        let mut fresh = Vec::with_capacity(self.text.len() - begin);
        for (first, last) in members.iter().zip(&last_of) {
            let Some(last) = last.and_then(|last| members.get(last)) else {
                continue;
            };
            if !fresh.is_empty() {
                fresh.push(b',');
            }
            let start = begin + fresh.len();
            fresh.extend_from_slice(self.text.get(first.name()).unwrap_or_default());
            let colon = begin + fresh.len();
            fresh.push(b':');
            fresh.extend_from_slice(self.text.get(last.value()).unwrap_or_default());
            self.members.push(Member { begin: start, colon, end: begin + fresh.len(), mark: first.mark });
        }
        self.text.truncate(begin);
        self.text.append(&mut fresh);
    }

    fn value(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > MOST_DEPTH {
            return self.fault("nested deeper than 32 levels");
        }
        match self.peek() {
            Some(b'"') => {
                self.text.extend_from_slice(b"{\"S\":\"");
                self.at = text::copy_string(self.data, self.at + 1, self.text)?;
                self.text.extend_from_slice(b"\"}");
                Ok(())
            }
            Some(b'{') => {
                self.at += 1;
                self.text.extend_from_slice(b"{\"M\":{");
                self.object(depth + 1)?;
                self.text.extend_from_slice(b"}}");
                Ok(())
            }
            Some(b'[') => {
                self.at += 1;
                self.text.extend_from_slice(b"{\"L\":[");
                self.list(depth + 1)?;
                self.text.extend_from_slice(b"]}");
                Ok(())
            }
            Some(b't') => self.word(b"true", b"{\"BOOL\":true}"),
            Some(b'f') => self.word(b"false", b"{\"BOOL\":false}"),
            Some(b'n') => self.word(b"null", b"{\"NULL\":true}"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.fault("not a value"),
        }
    }

    fn list(&mut self, depth: usize) -> Result<(), Fault> {
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth)?;
            self.space();
            match self.peek() {
                Some(b',') => self.text.push(b','),
                Some(b']') => break,
                _ => return self.fault("neither a comma nor the end of a list"),
            }
            self.at += 1;
            self.space();
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<(), Fault> {
        self.text.push(b'"');
        self.at = text::copy_string(self.data, self.at + 1, self.text)?;
        self.text.push(b'"');
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        let (end, is_integer) = number::scan(self.data, self.at)?;
        let text = self.data.get(self.at..end).unwrap_or_default();
        if !number::fits(text) {
            return self.fault("a number that DynamoDB does not take");
        }
        // An integer is one to Python, which has no negative zero.
        let text = if is_integer && text == b"-0" { b"0" } else { text };
        self.text.extend_from_slice(b"{\"N\":\"");
        self.text.extend_from_slice(text);
        self.text.extend_from_slice(b"\"}");
        self.at = end;
        Ok(())
    }

    fn word(&mut self, word: &[u8], text: &[u8]) -> Result<(), Fault> {
        if !self.data.get(self.at..).unwrap_or_default().starts_with(word) {
            return self.fault("not a value");
        }
        self.at += word.len();
        self.text.extend_from_slice(text);
        Ok(())
    }
}

/// Differs for most names that differ: made of the length and of the bytes at both ends.
fn mark(name: &[u8]) -> u64 {
    let head = name.first_chunk::<8>().map_or_else(|| short(name), |eight| u64::from_le_bytes(*eight));
    let tail = name.last_chunk::<8>().map_or(0, |eight| u64::from_le_bytes(*eight));
    head ^ tail.rotate_left(29) ^ ((name.len() as u64) << 56)
}

fn short(name: &[u8]) -> u64 {
    name.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// The value under a name in a map's attribute value, as [`Attributes`] writes it. None where there is none.
fn inner<'a>(value: &'a [u8], quoted: &[u8]) -> Option<&'a [u8]> {
    let map = value.strip_prefix(b"{\"M\":{")?;
    let mut at = 0;
    while map.get(at) == Some(&b'"') {
        let colon = past_string(map, at)?;
        let end = past_value(map, colon + COLON)?;
        if map.get(at..colon) == Some(quoted) {
            return map.get(colon + COLON..end);
        }
        at = end + 1;
    }
    None
}

fn past_string(text: &[u8], quote: usize) -> Option<usize> {
    let mut at = quote + 1;
    loop {
        at += text::plain(text.get(at..)?);
        match text.get(at)? {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

fn past_value(text: &[u8], begin: usize) -> Option<usize> {
    let mut at = begin;
    let mut open = 0_usize;
    loop {
        match text.get(at)? {
            b'"' => {
                at = past_string(text, at)?;
                continue;
            }
            b'{' | b'[' => open += 1,
            b'}' | b']' => {
                open = open.checked_sub(1)?;
                if open == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn written(payload: &str) -> Result<String, Fault> {
        let mut attributes = Attributes::default();
        attributes.read(payload.as_bytes())?;
        let mut text = String::from_utf8(attributes.text).unwrap();
        text.push('}');
        Ok(text)
    }

    #[test]
    fn each_kind_of_value_becomes_its_attribute_value() {
        assert_eq!(
            written(r#" { "a" : "x", "b":[1, -0, 1.10,{}], "c":{"d":null,"":true} ,"e":false} "#).unwrap(),
            concat!(
                r#"{"a":{"S":"x"},"b":{"L":[{"N":"1"},{"N":"0"},{"N":"1.10"},{"M":{}}]},"#,
                r#""c":{"M":{"d":{"NULL":true},"":{"BOOL":true}}},"e":{"BOOL":false}}"#
            )
        );
        assert_eq!(written("{}").unwrap(), "{}");
    }

    #[test]
    fn of_a_name_that_comes_twice_the_last_value_stands_in_the_first_place() {
        assert_eq!(
            written(r#"{"a":1,"b":{"x":1,"y":2,"\u0078":[3]},"a":{"z":0},"c":2}"#).unwrap(),
            r#"{"a":{"M":{"z":{"N":"0"}}},"b":{"M":{"x":{"L":[{"N":"3"}]},"y":{"N":"2"}}},"c":{"N":"2"}}"#
        );
    }

    #[test]
    fn many_names_are_told_apart_as_few_are() {
        let members: Vec<String> = (0..1000).map(|number| format!(r#""n{}":{number}"#, number % 700)).collect();
        let text = written(&format!("{{{}}}", members.join(","))).unwrap();
        let expected: Vec<String> = (0..700)
            .map(|number| format!(r#""n{number}":{{"N":"{}"}}"#, if number < 300 { number + 700 } else { number }))
            .collect();
        assert_eq!(text, format!("{{{}}}", expected.join(",")));
    }

    #[test]
    fn what_is_no_object_of_json_is_refused_with_its_place() {
        for (payload, at) in [
            ("", 0),
            ("[]", 0),
            ("{", 1),
            (r#"{"a"}"#, 4),
            (r#"{"a":}"#, 5),
            (r#"{"a":1,}"#, 7),
            (r#"{"a":1"#, 6),
            (r#"{"a":[1,]}"#, 8),
            (r#"{"a":tru}"#, 5),
            (r#"{"a":01}"#, 5),
            (r#"{"a":1} x"#, 8),
            (r#"{a:1}"#, 1),
            ("{\"a\":\"\t\"}", 6),
        ] {
            assert_eq!(written(payload).unwrap_err().at, at, "{payload}");
        }
        assert_eq!(Attributes::default().read(b"{\"a\":\"\xff\"}").unwrap_err().at, 6);
    }

    #[test]
    fn it_nests_as_deep_as_dynamodb_allows() {
        let nested = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(written(&nested(31)).is_ok());
        assert!(written(&nested(32)).is_err());
        assert!(written(&nested(100_000)).is_err());
    }

    #[test]
    fn values_are_found_by_their_path() {
        let mut attributes = Attributes::default();
        attributes.read(br#"{"a":{"x":["}",{"b":1}],"b\"":{"c":"y"}},"b":2}"#).unwrap();
        let at = |path: &[&str]| {
            let names: Vec<Name> = path.iter().map(|name| Name::new(name)).collect();
            attributes.at(&names).map(|value| String::from_utf8(value.to_vec()).unwrap())
        };
        assert_eq!(at(&["b"]).as_deref(), Some(r#"{"N":"2"}"#));
        assert_eq!(at(&["a", "b\"", "c"]).as_deref(), Some(r#"{"S":"y"}"#));
        for missing in [&["c"][..], &["b", "c"], &["a", "b"], &["a", "x", "b"], &[]] {
            assert_eq!(at(missing), None);
        }
    }
}

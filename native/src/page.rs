//! The JSON of a page of records, field by field as it comes. Nothing is made of what nobody asked for, but it is checked.

use std::borrow::Cow;
use std::ops::Range;

use crate::fault::Fault;
use crate::{number, text};

/// How deep a value may nest that is passed over.
const MOST_DEPTH: usize = 64;

/// Reads JSON from the beginning to its end.
#[derive(Debug)]
pub struct Cursor<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// A fault where it stands.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn fault<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(Fault::new(self.at, what))
    }

    fn peek(&mut self) -> Option<u8> {
        while let Some(byte @ (b' ' | b'\n' | b'\r' | b'\t')) = self.data.get(self.at) {
            let _ = byte;
            self.at += 1;
        }
        self.data.get(self.at).copied()
    }

    fn takes(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn insist(&mut self, byte: u8) -> Result<(), Fault> {
        if self.takes(byte) { Ok(()) } else { self.fault("not what JSON has here") }
    }

    /// Calls `member` with each name of an object, the cursor before its value, which it must pass.
    ///
    /// # Errors
    ///
    /// For what is no object, and whatever `member` raises.
    pub fn object<E: From<Fault>>(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.insist(b'{')?;
        if self.takes(b'}') {
            return Ok(());
        }
        loop {
            let name = self.string()?;
            self.insist(b':')?;
            member(self, name)?;
            if self.takes(b'}') {
                return Ok(());
            }
            self.insist(b',')?;
        }
    }

    /// Calls `each` before each value of a list, which it must pass.
    ///
    /// # Errors
    ///
    /// For what is no list, and whatever `each` raises.
    pub fn list<E: From<Fault>>(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.insist(b'[')?;
        if self.takes(b']') {
            return Ok(());
        }
        loop {
            each(self)?;
            if self.takes(b']') {
                return Ok(());
            }
            self.insist(b',')?;
        }
    }

    /// The inside of a string that has no escapes.
    ///
    /// # Errors
    ///
    /// For anything else.
    pub fn string(&mut self) -> Result<&'a [u8], Fault> {
        self.insist(b'"')?;
        let rest = self.data.get(self.at..).unwrap_or_default();
        let length = text::plain(rest);
        if rest.get(length) != Some(&b'"') {
            return self.fault("a string with an escape, or without an end");
        }
        self.at += length + 1;
        Ok(rest.get(..length).unwrap_or_default())
    }

    /// A string of any kind as text.
    ///
    /// # Errors
    ///
    /// For what is no string, and for what is no UTF-8.
    pub fn text(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.insist(b'"')?;
        let begin = self.at;
        let rest = self.data.get(begin..).unwrap_or_default();
        let length = text::plain(rest);
        if rest.get(length) == Some(&b'"') {
            self.at += length + 1;
            let inside = rest.get(..length).unwrap_or_default();
            return std::str::from_utf8(inside).map(Cow::Borrowed).or_else(|_| self.fault("not UTF-8"));
        }
        let mut escaped = Vec::new();
        self.at = text::copy_string(self.data, begin, &mut escaped)?;
        text::unescape(&escaped).map(Cow::Owned)
    }

    /// The text of a number.
    ///
    /// # Errors
    ///
    /// For anything else.
    pub fn number(&mut self) -> Result<&'a [u8], Fault> {
        self.peek();
        let (end, _) = number::scan(self.data, self.at)?;
        let text = self.data.get(self.at..end).unwrap_or_default();
        self.at = end;
        Ok(text)
    }

    /// Whether `null` stands here; then it is passed.
    pub fn null(&mut self) -> bool {
        self.peek();
        let found = self.data.get(self.at..).unwrap_or_default().starts_with(b"null");
        self.at += if found { 4 } else { 0 };
        found
    }

    /// Passes a value of any kind, and tells where it stands.
    ///
    /// # Errors
    ///
    /// For what is no JSON, or nests absurdly.
    pub fn pass(&mut self) -> Result<Range<usize>, Fault> {
        self.peek();
        let begin = self.at;
        self.pass_value(0)?;
        Ok(begin..self.at)
    }

    fn pass_value(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > MOST_DEPTH {
            return self.fault("nested too deep");
        }
        match self.peek() {
            Some(b'{') => self.object(|inner, _| inner.pass_value(depth + 1)),
            Some(b'[') => self.list(|inner| inner.pass_value(depth + 1)),
            Some(b'"') => self.text().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number().map(|_| ()),
            _ => {
                let rest = self.data.get(self.at..).unwrap_or_default();
                for word in ["true", "false", "null"] {
                    if rest.starts_with(word.as_bytes()) {
                        self.at += word.len();
                        return Ok(());
                    }
                }
                self.fault("not a value")
            }
        }
    }

    /// Insists that nothing is left.
    ///
    /// # Errors
    ///
    /// Where something is.
    pub fn end(&mut self) -> Result<(), Fault> {
        if self.peek().is_none() { Ok(()) } else { self.fault("something behind the end") }
    }
}

/// Bytes of the least significant end first of a whole number's digits. None for any other text.
///
/// Sequence numbers have up to 129 digits (Kinesis API reference, `SequenceNumber`), and no leading zeros.
#[must_use]
pub fn integer(digits: &[u8]) -> Option<Vec<u8>> {
    const MOST: usize = 129;
    const AT_ONCE: usize = 18;
    if digits.is_empty() || digits.len() > MOST || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if digits.len() > 1 && digits.first() == Some(&b'0') {
        return None;
    }
    let mut words: Vec<u64> = Vec::with_capacity(7);
    for several in digits.chunks(AT_ONCE) {
        let (mut scale, mut carry) = (1_u128, 0_u128);
        for &digit in several {
            scale *= 10;
            carry = carry * 10 + u128::from(digit - b'0');
        }
        for word in &mut words {
            let sum = u128::from(*word) * scale + carry;
            *word = sum as u64;
            carry = sum >> 64;
        }
        if carry > 0 {
            words.push(carry as u64);
        }
    }
    Some(words.iter().flat_map(|word| word.to_le_bytes()).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn digits_become_the_bytes_of_their_number() {
        for number in [0_u128, 9, 10, u128::from(u64::MAX), 10_u128.pow(18), 10_u128.pow(36) + 7, u128::MAX] {
            let mut bytes = integer(number.to_string().as_bytes()).unwrap();
            bytes.resize(16, 0);
            assert_eq!(u128::from_le_bytes(bytes.try_into().unwrap()), number);
        }
        let long = integer("9".repeat(129).as_bytes()).unwrap();
        assert_eq!(long.len(), 56);
    }

    #[test]
    fn other_texts_are_no_sequence_numbers() {
        for text in ["", "-1", "01", "1.0", " 1", "1e3"] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
        assert_eq!(integer("1".repeat(130).as_bytes()), None);
    }

    #[test]
    fn values_nobody_asked_for_are_passed_and_checked() {
        for good in [
            "{}",
            r#"{"a":[1,{"b":null}],"c":"x"}"#,
            " [ true , false ] ",
            "-1.5e3",
            r#""""#,
            r#"{"a":"\u00e9\"","b":"é"}"#,
        ] {
            let mut cursor = Cursor::new(good.as_bytes());
            assert!(cursor.pass().is_ok() && cursor.end().is_ok(), "{good}");
        }
        for bad in ["", "{", r#"{"a"}"#, "[1,]", "nul", "01", "\"\u{1}\"", &"[".repeat(100)] {
            let mut cursor = Cursor::new(bad.as_bytes());
            assert!(cursor.pass().and_then(|_| cursor.end()).is_err(), "{bad}");
        }
    }
}

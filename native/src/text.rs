//! Strings of JSON: what may stand in one as it is (RFC 8259, 7), and the escapes for the rest.

use crate::fault::Fault;

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
const FIRST_PLAIN: u8 = 0x20;

/// How many bytes from the beginning need no escape: up to a quote, a backslash or a control character.
#[must_use]
pub fn plain(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    let mut done = 0;
    while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
        let found = special(u64::from_le_bytes(*eight));
        if found != 0 {
            return done + (found.trailing_zeros() / 8) as usize;
        }
        done += 8;
        rest = behind;
    }
    done + rest.iter().position(|&byte| byte < FIRST_PLAIN || byte == b'"' || byte == b'\\').unwrap_or(rest.len())
}

/// The high bit of the first byte that needs an escape; bits of bytes behind it mean nothing. 0 where none does.
fn special(word: u64) -> u64 {
    let quote = word ^ (LOW * b'"' as u64);
    let backslash = word ^ (LOW * b'\\' as u64);
    let zeros = (quote.wrapping_sub(LOW) & !quote) | (backslash.wrapping_sub(LOW) & !backslash);
    let control = word.wrapping_sub(LOW * FIRST_PLAIN as u64) & !word;
    (zeros | control) & HIGH
}

/// Appends text as it stands between the quotes of JSON.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    loop {
        let (before, behind) = rest.split_at(plain(rest).min(rest.len()));
        out.extend_from_slice(before);
        let Some((&byte, behind)) = behind.split_first() else {
            return;
        };
        escape_byte(byte, out);
        rest = behind;
    }
}

fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        _ => {
            let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 15)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Copies the string whose opening quote is before `at`, escaped as [`escape`] would have it, without the quotes.
///
/// Returns where it goes on behind the closing quote.
///
/// # Errors
///
/// A control character, an escape that JSON does not have, half a surrogate pair, or no closing quote.
pub fn copy_string(data: &[u8], mut at: usize, out: &mut Vec<u8>) -> Result<usize, Fault> {
    loop {
        let rest = data.get(at..).unwrap_or_default();
        let (run, behind) = rest.split_at(plain(rest).min(rest.len()));
        out.extend_from_slice(run);
        at += run.len();
        match behind.first() {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = copy_escape(data, at, out)?,
            Some(_) => return Err(Fault::new(at, "a control character in a string")),
            None => return Err(Fault::new(at, "a string without an end")),
        }
    }
}

/// Copies the escape whose backslash is at `at`; returns where it goes on.
fn copy_escape(data: &[u8], at: usize, out: &mut Vec<u8>) -> Result<usize, Fault> {
    let what = "an escape that JSON does not have";
    let kind = *data.get(at + 1).ok_or(Fault::new(at, what))?;
    let byte = match kind {
        b'"' | b'\\' | b'/' => kind,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => {
            let (letter, end) = unicode(data, at)?;
            escape(letter.encode_utf8(&mut [0; 4]), out);
            return Ok(end);
        }
        _ => return Err(Fault::new(at, what)),
    };
    if byte == b'/' {
        out.push(byte);
    } else {
        escape_byte(byte, out);
    }
    Ok(at + 2)
}

/// The letter of `\uXXXX`, or of two of them that are a pair, and where it goes on.
fn unicode(data: &[u8], at: usize) -> Result<(char, usize), Fault> {
    let first = four_digits(data, at)?;
    if let Some(letter) = char::from_u32(first) {
        return Ok((letter, at + 6));
    }
    let half = Fault::new(at, "half a surrogate pair");
    if first >= 0xdc00 || data.get(at + 6..at + 8) != Some(b"\\u") {
        return Err(half);
    }
    let second = four_digits(data, at + 6)?;
    if !(0xdc00..0xe000).contains(&second) {
        return Err(half);
    }
    let whole = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    char::from_u32(whole).map_or(Err(half), |letter| Ok((letter, at + 12)))
}

fn four_digits(data: &[u8], at: usize) -> Result<u32, Fault> {
    let digits = data.get(at + 2..at + 6).unwrap_or_default();
    let bad = Fault::new(at, "an escape without four hexadecimal digits");
    if digits.len() < 4 {
        return Err(bad);
    }
    digits
        .iter()
        .try_fold(0, |sum, &digit| (digit as char).to_digit(16).map_or(Err(bad.clone()), |value| Ok(sum * 16 + value)))
}

/// What stands between the quotes of a string that [`escape`] or [`copy_string`] wrote, as text.
///
/// # Errors
///
/// For what neither of them writes.
pub fn unescape(escaped: &[u8]) -> Result<String, Fault> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut at = 0;
    while let Some(&byte) = escaped.get(at) {
        if byte != b'\\' {
            bytes.push(byte);
            at += 1;
            continue;
        }
        let (letter, end) = match escaped.get(at + 1) {
            Some(b'b') => ('\u{8}', at + 2),
            Some(b'f') => ('\u{c}', at + 2),
            Some(b'n') => ('\n', at + 2),
            Some(b'r') => ('\r', at + 2),
            Some(b't') => ('\t', at + 2),
            Some(b'u') => unicode(escaped, at)?,
            Some(&other) => (other as char, at + 2),
            None => return Err(Fault::new(at, "an escape that JSON does not have")),
        };
        bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        at = end;
    }
    String::from_utf8(bytes).map_err(|_| Fault::new(0, "not UTF-8"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn copied(inside: &str) -> Result<String, Fault> {
        let mut out = Vec::new();
        copy_string(format!("{inside}\"").as_bytes(), 0, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_needs_an_escape_is_found_at_every_place_of_a_word() {
        for byte in (0..0x20).chain([b'"', b'\\']) {
            for place in 0..20 {
                let mut bytes = vec![0xc3_u8; 20];
                *bytes.get_mut(place).unwrap() = byte;
                assert_eq!(plain(&bytes), place, "{byte:#x}");
            }
        }
        assert_eq!(plain(" !#[]\u{7f}é大 and so on".as_bytes()), 21);
    }

    #[test]
    fn escapes_become_the_letters_they_stand_for_or_the_shortest_escape() {
        assert_eq!(copied(r"a\/b\u0041\u00e9\uD83D\uDE00").unwrap(), "a/bAé😀");
        assert_eq!(copied(r#"\"\\\b\f\n\r\t\u0000\u001F\u000A"#).unwrap(), r#"\"\\\b\f\n\r\t\u0000\u001f\n"#);
    }

    #[test]
    fn what_json_does_not_allow_in_a_string_is_refused() {
        for bad in [r"\x", r"\u12", r"\uZZZZ", r"\ud800", r"\ud800x", r"\ud800\u0041", r"\udc00", "\n", "\0", "\\"] {
            assert!(copied(bad).is_err(), "{bad}");
        }
        assert!(copy_string(b"no end", 0, &mut Vec::new()).is_err());
    }

    #[test]
    fn unescaping_undoes_escaping() {
        let text = "\u{0}\u{1f} \"\\/ é 大 😀 \u{8}\u{c}\n\r\t";
        let mut out = Vec::new();
        escape(text, &mut out);
        assert_eq!(unescape(&out).unwrap(), text);
    }
}

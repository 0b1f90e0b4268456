//! Numbers: JSON's grammar for them (RFC 8259, 6), and what DynamoDB takes.

use crate::fault::Fault;

/// Digits of a number (`DynamoDB` developer guide, "Naming rules and data types").
const MOST_DIGITS: usize = 38;
/// The powers of ten between which a number's first digit stands (likewise: 1E-130 to 9.99...E+125).
const LEAST: i64 = -130;
const MOST: i64 = 125;
/// An exponent of more digits than this is out of range whatever stands before it.
const LONGEST_EXPONENT: usize = 9;

/// Where the number that begins at `at` ends, and whether it is an integer by its form.
///
/// # Errors
///
/// Where JSON has no such number.
pub fn scan(data: &[u8], at: usize) -> Result<(usize, bool), Fault> {
    let begin = if data.get(at) == Some(&b'-') { at + 1 } else { at };
    let whole = digits(data, begin);
    if whole == begin || (whole > begin + 1 && data.get(begin) == Some(&b'0')) {
        return Err(Fault::new(at, "not a number"));
    }
    let mut end = whole;
    if data.get(end) == Some(&b'.') {
        end = more_digits(data, end + 1, at)?;
    }
    if matches!(data.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(data.get(end + 1), Some(b'+' | b'-')));
        end = more_digits(data, end + 1 + sign, at)?;
    }
    Ok((end, end == whole))
}

fn more_digits(data: &[u8], begin: usize, number: usize) -> Result<usize, Fault> {
    let end = digits(data, begin);
    if end == begin { Err(Fault::new(number, "not a number")) } else { Ok(end) }
}

fn digits(data: &[u8], begin: usize) -> usize {
    let rest = data.get(begin..).unwrap_or_default();
    begin + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Whether `DynamoDB` takes a number of this text: 38 digits, and neither too large nor too small.
///
/// A text that is no number at all is left to the server: nobody here knows what was meant.
#[must_use]
pub fn fits(text: &[u8]) -> bool {
    (text.len() <= MOST_DIGITS && !text.iter().any(|byte| matches!(byte, b'e' | b'E'))) || weighed(text)
}

/// The same, digit by digit.
fn weighed(text: &[u8]) -> bool {
    let Some((whole, fraction, exponent)) = split(text) else {
        return true;
    };
    let all = || whole.iter().chain(fraction);
    let leading = all().take_while(|&&digit| digit == b'0').count();
    let trailing = all().rev().take_while(|&&digit| digit == b'0').count();
    let count = whole.len() + fraction.len();
    if leading == count {
        return true; // zero
    }
    let Some(exponent) = exponent_of(exponent) else {
        return false;
    };
    let places = |length: usize| i64::try_from(length).unwrap_or(i64::MAX / 4);
    let first = places(whole.len()) - places(leading) - 1 + exponent;
    count - leading - trailing <= MOST_DIGITS && (LEAST..=MOST).contains(&first)
}

/// Digits before the point, behind it, and the exponent's text. None for what is no number.
fn split(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let text = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    let (whole, rest) = text.split_at_checked(digits(text, 0))?;
    let behind_point = rest.strip_prefix(b".");
    let (fraction, rest) =
        behind_point.map_or(Some((rest.get(..0)?, rest)), |behind| behind.split_at_checked(digits(behind, 0)))?;
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    if rest.is_empty() {
        return Some((whole, fraction, rest));
    }
    let exponent = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E"))?;
    let unsigned = exponent.strip_prefix(b"-").or_else(|| exponent.strip_prefix(b"+")).unwrap_or(exponent);
    (!unsigned.is_empty() && digits(unsigned, 0) == unsigned.len()).then_some((whole, fraction, exponent))
}

/// Its value; None where it is so long that nothing before it brings it back into range.
fn exponent_of(text: &[u8]) -> Option<i64> {
    let negative = text.first() == Some(&b'-');
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).skip_while(|&&byte| byte == b'0');
    if digits.clone().count() > LONGEST_EXPONENT {
        return None;
    }
    let value = digits.fold(0_i64, |sum, &digit| sum * 10 + i64::from(digit - b'0'));
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_numbers_end_where_they_end() {
        for (text, end, integer) in [
            ("0", 1, true),
            ("-0,", 2, true),
            ("120]", 3, true),
            ("1.10 ", 4, false),
            ("1e400", 5, false),
            ("-1.5E-07}", 8, false),
            ("0e0", 3, false),
        ] {
            assert_eq!(scan(text.as_bytes(), 0), Ok((end, integer)), "{text}");
        }
    }

    #[test]
    fn what_json_has_no_number_for_is_refused() {
        for text in ["", "-", "+1", "01", "-00", ".5", "1.", "1.e5", "1e", "1e+", "NaN", "Infinity", "-Infinity"] {
            assert!(scan(text.as_bytes(), 0).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_fits_by_its_digits_and_not_by_its_length() {
        let nines = |count| "9".repeat(count);
        let fitting = [
            nines(38),
            format!("-{}", nines(38)),
            format!("{}{}", nines(38), "0".repeat(80)),
            format!("0.{}{}", "0".repeat(90), nines(38)),
            format!("{}.000", nines(38)),
            "9.99e125".to_owned(),
            "1e-130".to_owned(),
            format!("1{}", "0".repeat(125)),
            "0e999999999999999".to_owned(),
            "-0".to_owned(),
            "garbage".to_owned(),
            "1e".to_owned(),
            format!("{}e-110", nines(38)),
        ];
        for text in fitting {
            assert!(fits(text.as_bytes()), "{text}");
        }
        let unfit = [
            nines(39),
            format!("1.{}", nines(38)),
            "1e126".to_owned(),
            "1e400".to_owned(),
            "9e-131".to_owned(),
            "1e99999999999".to_owned(),
            "1e-99999999999".to_owned(),
            format!("1{}", "0".repeat(126)),
        ];
        for text in unfit {
            assert!(!fits(text.as_bytes()), "{text}");
        }
    }
}

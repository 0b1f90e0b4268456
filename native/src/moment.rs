//! Seconds since 1970 as ISO 8601 in UTC.

/// Seconds of a day.
const DAY: i64 = 86_400;
/// The first second of the year 10000: what comes later has no four digits for its year.
const END: i64 = 253_402_300_800;

/// Moments as text; records that follow each other share their second, which is kept.
#[derive(Debug, Default)]
pub struct Moments {
    second: i64,
    text: Vec<u8>,
}

impl Moments {
    /// Appends `2026-01-31T08:00:00.123Z`, rounded to the millisecond; false before 1970 and after 9999.
    #[must_use]
    pub fn append(&mut self, seconds: f64, out: &mut Vec<u8>) -> bool {
        let milliseconds = (seconds * 1000.0 + 0.5).floor();
        if !(0.0..END as f64 * 1000.0).contains(&milliseconds) {
            return false;
        }
        let milliseconds = milliseconds as i64;
        let (second, fraction) = (milliseconds / 1000, milliseconds % 1000);
        if self.text.is_empty() || self.second != second {
            self.second = second;
            self.text = iso(second).into_bytes();
        }
        out.extend_from_slice(&self.text);
        let digit = |value: i64| b'0' + (value % 10) as u8;
        out.extend_from_slice(&[b'.', digit(fraction / 100), digit(fraction / 10), digit(fraction), b'Z']);
        true
    }
}

fn iso(second: i64) -> String {
    let (year, month, day) = date(second / DAY);
    let (hour, minute, second) = (second % DAY / 3600, second % 3600 / 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// Year, month and day of a day since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iso_milliseconds(moments: &mut Moments, seconds: f64) -> Option<String> {
        let mut out = Vec::new();
        moments.append(seconds, &mut out).then(|| String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn moments_are_written_as_python_writes_them() {
        let mut moments = Moments::default();
        for (seconds, text) in [
            (0.0, "1970-01-01T00:00:00.000Z"),
            (0.4, "1970-01-01T00:00:00.400Z"),
            (951_782_400.0, "2000-02-29T00:00:00.000Z"),
            (1_767_225_599.999_6, "2026-01-01T00:00:00.000Z"),
            (1_767_225_600.123, "2026-01-01T00:00:00.123Z"),
            (253_402_300_799.0, "9999-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(iso_milliseconds(&mut moments, seconds).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_python_writes_otherwise_is_left_to_it() {
        for seconds in [-1.0, 253_402_300_800.0, f64::NAN, f64::INFINITY] {
            assert_eq!(iso_milliseconds(&mut Moments::default(), seconds), None);
        }
    }
}

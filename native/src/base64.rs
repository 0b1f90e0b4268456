//! Bytes as base64 (RFC 4648, 4), with padding.

use base64_simd::{AsOut, STANDARD};

/// Appends the text.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(STANDARD.encode_to_string(bytes).as_bytes());
}

/// How many bytes [`decode_into`] needs for a text. None for one that is no base64.
#[must_use]
pub fn decoded_length(text: &[u8]) -> Option<usize> {
    STANDARD.decoded_length(text).ok()
}

/// Decodes into exactly as many bytes as [`decoded_length`] said; false as [`decode`] says None.
#[must_use]
pub fn decode_into(text: &[u8], bytes: &mut [u8]) -> bool {
    let wanted = bytes.len();
    STANDARD.decode(text, bytes.as_out()).is_ok_and(|decoded| decoded.len() == wanted)
}

/// The bytes. None for a text that is not exactly what [`encode`] gives for some bytes.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode_to_vec(text).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_again() {
        for length in 0..70_u8 {
            let bytes: Vec<u8> = (0..length).map(|value| value.wrapping_mul(37)).collect();
            let mut out = Vec::new();
            encode(&bytes, &mut out);
            assert_eq!(decode(&out).unwrap(), bytes);
        }
    }

    #[test]
    fn loose_texts_are_refused() {
        for text in ["Zg", "Zg=", "Zh==", "Z===", "Zm9v\n", " Zm9v", "Zm9v=", "Zm-_"] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }
}

//! The short code by which a patient is named at a desk.
//!
//! Twelve characters of Crockford's base 32 (the first 60 bits of the pseudonym) and a check
//! character, `K7QF-2M9X-4TBA-Z`. The ledger keeps handles unique. The check character is a
//! weighted sum in GF(32), so every single wrong character and every swap of two neighbours shows.

use crate::PatientId;
use std::fmt;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const DIGITS: usize = 12;

/// The first 60 bits of a [`PatientId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(u64);

/// Why a text is no handle. Neither says whether a patient exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// Wrong length or a character outside the alphabet.
    #[error("a handle is 13 letters and digits, such as K7QF-2M9X-4TBA-Z")]
    Shape,
    /// A character was misread or two were swapped.
    #[error("the check character does not match; compare the handle with the patient's")]
    Check,
}

impl Handle {
    /// The 60 bits as a number.
    pub const fn bits(self) -> u64 {
        self.0
    }

    fn digits(self) -> [u8; DIGITS] {
        std::array::from_fn(|place| (self.0 >> (5 * (DIGITS - 1 - place)) & 31) as u8)
    }
}

impl From<PatientId> for Handle {
    fn from(patient: PatientId) -> Self {
        let first = patient.as_bytes()[..8].try_into().expect("16 bytes hold 8");
        Self(u64::from_be_bytes(first) >> 4)
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits();
        for (place, digit) in digits.iter().chain([&check(&digits)]).enumerate() {
            if place > 0 && place % 4 == 0 {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(ALPHABET[usize::from(*digit)]))?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Handle {
    type Err = HandleError;

    /// Case, spaces and hyphens do not matter; `I` and `L` read as 1, `O` as 0.
    fn from_str(text: &str) -> Result<Self, HandleError> {
        let signs = text.chars().filter(|sign| !matches!(sign, '-' | ' ')).take(DIGITS + 2);
        let digits = signs.map(digit).collect::<Option<Vec<u8>>>().ok_or(HandleError::Shape)?;
        let (code, sum) = digits.split_at_checked(DIGITS).ok_or(HandleError::Shape)?;
        if sum.len() != 1 {
            return Err(HandleError::Shape);
        }
        if sum != [check(code)] {
            return Err(HandleError::Check);
        }
        Ok(Self(code.iter().fold(0, |bits, digit| bits << 5 | u64::from(*digit))))
    }
}

fn digit(sign: char) -> Option<u8> {
    let sign = match sign.to_ascii_uppercase() {
        'I' | 'L' => '1',
        'O' => '0',
        other => other,
    };
    ALPHABET.iter().position(|letter| char::from(*letter) == sign).and_then(|at| at.try_into().ok())
}

/// `Σ αⁱ·dᵢ` in GF(32) with `α = x`, modulo `x⁵ + x² + 1`: Horner's rule.
fn check(digits: &[u8]) -> u8 {
    digits.iter().fold(0, |sum, digit| times_alpha(sum ^ digit))
}

fn times_alpha(value: u8) -> u8 {
    let shifted = value << 1;
    if shifted & 32 == 0 { shifted } else { (shifted ^ 0b10_0101) & 31 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_handle_reads_back_from_how_it_is_written(bytes: [u8; 16]) {
            let handle = Handle::from(PatientId::from_array(bytes));
            prop_assert_eq!(handle.to_string().parse(), Ok(handle));
            prop_assert_eq!(handle.to_string().to_lowercase().replace('-', " ").parse(), Ok(handle));
        }

        #[test]
        fn one_wrong_character_or_a_swap_of_neighbours_shows(bytes: [u8; 16], place in 0..13_usize, other in 0..32_usize) {
            let text: Vec<char> = Handle::from(PatientId::from_array(bytes)).to_string().replace('-', "").chars().collect();
            let mut wrong = text.clone();
            wrong[place] = char::from(ALPHABET[other]);
            if wrong != text {
                prop_assert_eq!(String::from_iter(&wrong).parse::<Handle>(), Err(HandleError::Check));
            }
            let mut swapped = text.clone();
            swapped.swap(place, (place + 1).min(12));
            if swapped != text {
                prop_assert_eq!(String::from_iter(&swapped).parse::<Handle>(), Err(HandleError::Check));
            }
        }
    }

    #[test]
    fn what_is_no_handle_is_refused() {
        for text in
            ["", "K7QF", "K7QF-2M9X-4TBA-ZZ", "K7QF-2M9X-4TBA-!", "K7QF-2M9X-4TBA-Z-and-much-more"]
        {
            assert_eq!(text.parse::<Handle>(), Err(HandleError::Shape), "{text}");
        }
    }
}

//! The name that somebody signs in with.

use std::fmt;

/// Text that cannot be a [`Login`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a login has {min} to {max} bytes, no spaces and no control characters", min = Login::MIN, max = Login::MAX)]
pub struct LoginError;

/// A login: short, in lower case, without spaces. Personal data, so never printed by `Debug`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Login(String);

impl Login {
    /// The shortest login, in bytes of UTF-8.
    pub const MIN: usize = 2;
    /// The longest login, in bytes of UTF-8.
    pub const MAX: usize = 128;

    /// Checks and takes a login. Case and surrounding spaces do not matter.
    pub fn new(text: &str) -> Result<Self, LoginError> {
        // Bounded before anything is copied; lower case may be longer than upper case.
        if text.len() > 2 * Self::MAX {
            return Err(LoginError);
        }
        let login = text.trim().to_lowercase();
        let fits = (Self::MIN..=Self::MAX).contains(&login.len());
        let plain = !login.chars().any(|sign| sign.is_whitespace() || sign.is_control());
        if fits && plain { Ok(Self(login)) } else { Err(LoginError) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_surrounding_spaces_do_not_matter() {
        assert_eq!(Login::new(" Sjoerd.Example \n").unwrap().as_str(), "sjoerd.example");
        assert_eq!(Login::new("ÉLISE"), Login::new("élise"));
    }

    #[test]
    fn what_is_too_long_too_short_or_odd_is_no_login() {
        let long = "a".repeat(129);
        for text in
            ["", "a", " a ", "two words", "nul\0l", "bell\u{7}", &long, &"a".repeat(10_000_000)]
        {
            assert_eq!(Login::new(text), Err(LoginError));
        }
        assert!(Login::new(&long[1..]).is_ok());
    }
}

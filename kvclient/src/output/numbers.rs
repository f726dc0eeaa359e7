//! Numbers as a person reads them.
//!
//! Invariant: no digit is left out.

/// Returns a number with a comma between each three digits.
pub fn grouped(number: impl ToString) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        let numbers = [0_i64, 999, 1000, -1234, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "-1,234", "1,234,567"]);
    }
}

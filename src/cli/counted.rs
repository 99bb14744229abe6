//! Writes a count with its noun, in the singular or in the plural.
//!
//! In: a count, and the forms of a word. Out: text, such as `1 bucket` and `2 buckets`.

/// The count and its noun, whose plural ends with an s.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", form(count, "", "s"))
}

/// The form of a word that this count asks for.
pub fn form<'a>(count: usize, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_in_the_singular() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "bucket")), ["0 buckets", "1 bucket", "2 buckets"]);
        assert_eq!([0, 1, 2].map(|count| form(count, "is", "are")), ["are", "is", "are"]);
    }
}

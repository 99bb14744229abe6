//! Relates the patterns of IAM: `*` stands for any characters and `?` for one, and `${aws:username}` for what AWS puts in its
//! place at each request. `${*}`, `${?}` and `${$}` are the characters themselves
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>,
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>).
//!
//! In: two patterns, such as `arn:aws:s3:::dr-*/*` and `arn:aws:s3:::dr-1/*`; a text without wildcards is a pattern too. Out:
//! whether one matches all that the other matches, or may match anything of it. The value of a variable is unknown: it covers
//! nothing but itself, and may be anything.

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq)]
enum PatternPart {
    Char(char),
    /// `?`
    One,
    /// `*`
    Any,
    /// The text between `${` and `}`.
    Variable(String),
}

impl PatternPart {
    /// Whether it may stand for any characters.
    fn is_open(&self) -> bool {
        matches!(self, PatternPart::Any | PatternPart::Variable(_))
    }
}

fn parts(pattern: &str) -> Vec<PatternPart> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(char) = rest.chars().next() {
        let variable = rest.strip_prefix("${").and_then(|from| from.split_once('}'));
        let after = rest.strip_prefix(char).unwrap_or_default();
        let (part, left) = match (variable, char) {
            (Some(("*", left)), _) => (PatternPart::Char('*'), left),
            (Some(("?", left)), _) => (PatternPart::Char('?'), left),
            (Some(("$", left)), _) => (PatternPart::Char('$'), left),
            (Some((name, left)), _) => (PatternPart::Variable(name.to_owned()), left),
            (None, '*') => (PatternPart::Any, after),
            (None, '?') => (PatternPart::One, after),
            (None, char) => (PatternPart::Char(char), after),
        };
        parts.push(part);
        rest = left;
    }
    parts
}

/// A pattern of a policy whose version has no variables, as a policy of the present version writes it.
pub fn without_variables(pattern: &str) -> String {
    pattern.replace("${", "${$}{")
}

/// The rests of two patterns after the text that both begin with; `None` where they begin with different texts, so that
/// nothing matches both. Most pairs of a long policy do, and taking whole patterns apart would cost much more.
fn after_common_text<'a>(one: &'a str, other: &'a str) -> Option<(&'a str, &'a str)> {
    let text = |pattern: &str| pattern.find(['*', '?', '$']).unwrap_or(pattern.len());
    let common = text(one).min(text(other));
    let ((begin, rest), (other_begin, other_rest)) =
        (one.split_at_checked(common)?, other.split_at_checked(common)?);
    (begin == other_begin).then_some((rest, other_rest))
}

/// Whether a pattern matches everything that another one matches.
pub fn covers(pattern: &str, other: &str) -> bool {
    if pattern == other {
        return true;
    }
    let Some((pattern, other)) = after_common_text(pattern, other) else { return false };
    let (pattern, other) = (parts(pattern), parts(other));
    let (mut at, mut of) = (0, 0);
    // The last `*`, and the position in the other pattern up to which it matches.
    let mut star: Option<(usize, usize)> = None;
    while let Some(part) = other.get(of) {
        match pattern.get(at) {
            Some(PatternPart::Any) => {
                star = Some((at, of));
                at += 1;
            }
            // A `*` and a variable of the other pattern may stand for more than one character.
            Some(own) if own == part || (*own == PatternPart::One && !part.is_open()) => {
                at += 1;
                of += 1;
            }
            _ => match &mut star {
                Some((before, until)) => {
                    *until += 1;
                    (at, of) = (*before + 1, *until);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|part| *part == PatternPart::Any)
}

/// Whether there may be a text that both patterns match.
pub fn overlap(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let Some((one, other)) = after_common_text(one, other) else { return false };
    let (one, other) = (parts(one), parts(other));
    // By how much of `other` was matched: whether what was matched of `one` can match that too.
    let mut row = vec![true];
    row.extend(other.iter().scan(true, |all, part| {
        *all &= part.is_open();
        Some(*all)
    }));
    for own in &one {
        let mut next: Vec<bool> = Vec::with_capacity(row.len());
        next.push(own.is_open() && row.first() == Some(&true));
        for ((part, diagonal), above) in other.iter().zip(&row).zip(row.iter().skip(1)) {
            let beside = next.last() == Some(&true);
            next.push(match (own, part) {
                (own, part) if own.is_open() || part.is_open() => *above || beside,
                (PatternPart::One, _) | (_, PatternPart::One) => *diagonal,
                (own, part) => own == part && *diagonal,
            });
        }
        if !next.contains(&true) {
            return false;
        }
        row = next;
    }
    row.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether a pattern matches a text, by the definition.
    fn matches(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => {
                matches(rest, text) || text.split_first().is_some_and(|(_, text)| matches(pattern, text))
            }
            (['?', rest @ ..], [_, text @ ..]) => matches(rest, text),
            ([own, rest @ ..], [char, text @ ..]) => own == char && matches(rest, text),
            _ => false,
        }
    }

    /// Every text of `a`, `b` and `c` that is at most four characters long. No pattern names `c`.
    fn short_texts() -> Vec<Vec<char>> {
        let mut all = vec![Vec::new()];
        let mut last = all.clone();
        for _ in 0..4 {
            let longer = last.iter().flat_map(|text: &Vec<char>| {
                ['a', 'b', 'c'].map(|char| text.iter().copied().chain([char]).collect::<Vec<char>>())
            });
            last = longer.collect();
            all.extend(last.iter().cloned());
        }
        all
    }

    #[test]
    fn resources_are_related_as_iam_does() {
        for (pattern, other, is_covered, overlaps) in [
            ("arn:aws:s3:::dr-*/*", "arn:aws:s3:::dr-1/*", true, true),
            ("arn:aws:s3:::dr-?/*", "arn:aws:s3:::dr-1/*", true, true),
            ("*", "arn:aws:s3:::dr-1/*", true, true),
            ("arn:aws:s3:::dr-1/*", "arn:aws:s3:::dr-1/*", true, true),
            ("arn:aws:s3:::dr-1/logs/*", "arn:aws:s3:::dr-1/*", false, true),
            ("arn:aws:s3:::*-1/a*", "arn:aws:s3:::dr-*/*b", false, true),
            ("arn:aws:s3:::dr-1/?", "arn:aws:s3:::dr-1/*", false, true),
            ("arn:aws:s3:::dr-2/*", "arn:aws:s3:::dr-1/*", false, false),
            ("arn:aws:s3:::dr-1", "arn:aws:s3:::dr-1/*", false, false),
            ("arn:aws:s3:::DR-1/*", "arn:aws:s3:::dr-1/*", false, false),
        ] {
            assert_eq!(covers(pattern, other), is_covered, "{pattern} covers {other}");
            assert_eq!(overlap(pattern, other), overlaps, "{pattern} overlaps {other}");
            assert_eq!(overlap(other, pattern), overlaps, "{other} overlaps {pattern}");
        }
    }

    #[test]
    fn a_variable_covers_nothing_but_itself_and_may_be_anything() {
        let own = "arn:aws:s3:::${aws:PrincipalTag/team, 'dr-1'}/*";
        for (pattern, other, is_covered, overlaps) in [
            (own, own, true, true),
            (own, "arn:aws:s3:::dr-1/*", false, true),
            ("arn:aws:s3:::dr-1/*", own, false, true),
            ("arn:aws:s3:::*/*", own, true, true),
            ("arn:aws:s3:::?/*", own, false, true),
            (own, "arn:aws:s3:::${aws:username}/*", false, true),
            ("arn:aws:s3:::dr-${aws:PrincipalAccount}/*", "arn:aws:s3:::dr-111122223333/*", false, true),
            ("arn:aws:s3:::dr-${aws:PrincipalAccount}/*", "arn:aws:s3:::copies/*", false, false),
            ("arn:aws:s3:::dr-1/${aws:username}*", "arn:aws:s3:::dr-1/*", false, true),
            ("arn:aws:s3:::dr-1/*${aws:username}", "arn:aws:s3:::dr-1/*", false, true),
            // The characters themselves.
            ("b/${*}", "b/x", false, false),
            ("b/${*}", "b/${*}", true, true),
            ("b/?", "b/${*}", true, true),
            ("b/${$}{x}", "b/?{x}", false, true),
            ("b/?{x}", "b/${$}{x}", true, true),
            // Not the beginning of a variable.
            ("b/${x", "b/${x", true, true),
            ("b/$", "b/?", false, true),
        ] {
            assert_eq!(covers(pattern, other), is_covered, "{pattern} covers {other}");
            assert_eq!(overlap(pattern, other), overlaps, "{pattern} overlaps {other}");
            assert_eq!(overlap(other, pattern), overlaps, "{other} overlaps {pattern}");
        }
        assert!(!overlap(&without_variables("b/${x}"), "b/y"));
    }

    proptest! {
        /// A variable in the place of a text claims no more than each text that it may be, and no less than any of them.
        #[test]
        fn a_pattern_with_a_variable_holds_for_each_of_its_values(
            (before, after, other) in ("[ab?*]{0,2}", "[ab?*]{0,2}", "[ab?*]{0,3}"),
            value in "[ab]{0,2}",
        ) {
            let pattern = format!("{before}${{aws:username}}{after}");
            let resolved = format!("{before}{value}{after}");
            prop_assert!(!covers(&pattern, &other) || covers(&resolved, &other), "{} {}", pattern, other);
            prop_assert!(!covers(&other, &pattern) || covers(&other, &resolved), "{} {}", other, pattern);
            prop_assert!(overlap(&pattern, &other) || !overlap(&resolved, &other), "{} {}", pattern, other);
        }

        #[test]
        fn patterns_are_related_as_the_texts_are_that_they_match(one in "[ab?*]{0,3}", other in "[ab?*]{0,3}") {
            let of = |pattern: &str| pattern.chars().collect::<Vec<char>>();
            let (own, others) = (of(&one), of(&other));
            let texts = short_texts();
            let of_other = || texts.iter().filter(|text| matches(&others, text));
            // Two patterns of three characters that overlap at all do so in a text of four.
            prop_assert_eq!(overlap(&one, &other), of_other().any(|text| matches(&own, text)), "{} {}", one, other);
            if covers(&one, &other) {
                prop_assert!(of_other().all(|text| matches(&own, text)), "{} does not cover {}", one, other);
            }
        }

        #[test]
        fn a_pattern_covers_a_text_that_it_matches(pattern in "[ab?*]{0,6}", text in "[abc]{0,6}") {
            let of = |pattern: &str| pattern.chars().collect::<Vec<char>>();
            prop_assert_eq!(covers(&pattern, &text), matches(&of(&pattern), &of(&text)));
        }
    }
}

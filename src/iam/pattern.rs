//! Relates the patterns of IAM: `*` stands for any characters and `?` for one
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>).
//!
//! In: two patterns, such as `arn:aws:s3:::dr-*/*` and `arn:aws:s3:::dr-1/*`; a text without wildcards is a pattern too. Out:
//! whether one matches all that the other matches, or anything of it.

/// Whether a pattern matches everything that another one matches.
pub fn covers(pattern: &str, other: &str) -> bool {
    let (pattern, other): (Vec<char>, Vec<char>) = (pattern.chars().collect(), other.chars().collect());
    let (mut at, mut of) = (0, 0);
    // The last `*`, and the position in the other pattern up to which it matches.
    let mut star: Option<(usize, usize)> = None;
    while let Some(char) = other.get(of) {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, of));
                at += 1;
            }
            // A `*` of the other pattern may stand for more than one character.
            Some(own) if own == char || (*own == '?' && *char != '*') => {
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
    pattern.iter().skip(at).all(|char| *char == '*')
}

/// Whether there is a text that both patterns match.
pub fn overlap(one: &str, other: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    // By how much of `other` was matched: whether what was matched of `one` can match that too.
    let mut row = vec![true];
    row.extend(other.iter().scan(true, |all, char| {
        *all &= *char == '*';
        Some(*all)
    }));
    for own in &one {
        let mut next: Vec<bool> = Vec::with_capacity(row.len());
        next.push(*own == '*' && row.first() == Some(&true));
        for ((char, diagonal), above) in other.iter().zip(&row).zip(row.iter().skip(1)) {
            let beside = next.last() == Some(&true);
            next.push(match (own, char) {
                ('*', _) | (_, '*') => *above || beside,
                ('?', _) | (_, '?') => *diagonal,
                (own, char) => own == char && *diagonal,
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

    proptest! {
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

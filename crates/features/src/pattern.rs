//! Patterns of LIKE.

/// A pattern: `%` is any characters, `_` is one, `\` takes the next as it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pattern(Vec<Item>);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Item {
    Char(char),
    AnyChar,
    AnyChars,
}

impl Pattern {
    /// `None` where the pattern ends in the middle of an escape.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let mut items = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            let item = match char {
                '%' => Item::AnyChars,
                '_' => Item::AnyChar,
                '\\' => Item::Char(chars.next()?),
                char => Item::Char(char),
            };
            if item != Item::AnyChars || items.last() != Some(&Item::AnyChars) {
                items.push(item);
            }
        }
        Some(Self(items))
    }

    /// Whether the whole of `text` fits. When it does not go on, only the last `%` needs to take one more character.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let (mut rest, mut item) = (text, 0);
        let mut retry: Option<(&str, usize)> = None;
        loop {
            let mut chars = rest.chars();
            let fits = match self.0.get(item) {
                Some(Item::AnyChars) => {
                    retry = Some((rest, item));
                    item += 1;
                    continue;
                }
                Some(Item::AnyChar) => chars.next().is_some(),
                Some(Item::Char(wanted)) => chars.next() == Some(*wanted),
                None if rest.is_empty() => return true,
                None => false,
            };
            if fits {
                (rest, item) = (chars.as_str(), item + 1);
                continue;
            }
            let Some((from, any)) = retry else { return false };
            let mut chars = from.chars();
            if chars.next().is_none() {
                return false;
            }
            retry = Some((chars.as_str(), any));
            (rest, item) = (chars.as_str(), any + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the definition: every way in which `%` can be filled.
    fn matches_slowly(items: &[Item], text: &[char]) -> bool {
        match items.split_first() {
            None => text.is_empty(),
            Some((Item::AnyChars, rest)) => (0..=text.len()).any(|taken| matches_slowly(rest, &text[taken..])),
            Some((Item::AnyChar, rest)) => !text.is_empty() && matches_slowly(rest, &text[1..]),
            Some((Item::Char(wanted), rest)) => text.first() == Some(wanted) && matches_slowly(rest, &text[1..]),
        }
    }

    #[test]
    fn escapes_take_the_next_as_it_is() {
        assert!(Pattern::new("100\\%").unwrap().matches("100%"));
        assert!(!Pattern::new("100\\%").unwrap().matches("1000"));
        assert!(Pattern::new("東_駅%").unwrap().matches("東京駅前"));
        assert_eq!(Pattern::new("a\\"), None);
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab%_]{0,8}", text in "[abc]{0,10}") {
            let pattern = Pattern::new(&pattern).unwrap();
            let chars: Vec<char> = text.chars().collect();
            prop_assert_eq!(pattern.matches(&text), matches_slowly(&pattern.0, &chars));
        }
    }
}

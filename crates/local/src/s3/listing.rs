//! ListObjectsV2: a range of the ordered keys.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use super::store::ObjectInfo;

/// What is asked for.
#[derive(Debug, Default)]
pub(crate) struct Query<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) delimiter: Option<&'a str>,
    pub(crate) start_after: Option<&'a str>,
    pub(crate) token: Option<&'a str>,
    pub(crate) max_keys: usize,
}

/// One page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) objects: Vec<Arc<ObjectInfo>>,
    pub(crate) common_prefixes: Vec<String>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<String>,
}

impl Page {
    pub(crate) fn len(&self) -> usize {
        self.objects.len() + self.common_prefixes.len()
    }
}

/// One page of `objects`. The token is `k` and the last key, or `p` and the last common prefix.
pub(crate) fn list(objects: &BTreeMap<String, Arc<ObjectInfo>>, query: &Query<'_>) -> Page {
    let mut page = Page::default();
    let mut last: Option<String> = None;
    let mut from = match query.token.and_then(|token| token.split_at_checked(1)) {
        Some(("p", prefix)) => after_prefix(prefix),
        Some((_, key)) => Bound::Excluded(key.to_owned()),
        None => Bound::Unbounded,
    };
    if let Some(start) = query.start_after.filter(|_| query.token.is_none()) {
        from = Bound::Excluded(start.to_owned());
    }
    let before_prefix = match &from {
        Bound::Unbounded => true,
        Bound::Included(key) | Bound::Excluded(key) => key.as_str() < query.prefix,
    };
    if before_prefix {
        from = Bound::Included(query.prefix.to_owned());
    }
    if query.max_keys == 0 {
        return page;
    }
    'ranges: loop {
        for (key, info) in objects.range::<str, _>((as_str(&from), Bound::Unbounded)) {
            let Some(rest) = key.strip_prefix(query.prefix) else { return page };
            if page.len() == query.max_keys {
                page.next = last;
                return page;
            }
            let delimiter = query.delimiter.filter(|delimiter| !delimiter.is_empty());
            if let Some((delimiter, at)) = delimiter.and_then(|delimiter| Some((delimiter, rest.find(delimiter)?))) {
                let common = &key[..query.prefix.len() + at + delimiter.len()];
                last = Some(format!("p{common}"));
                page.common_prefixes.push(common.to_owned());
                from = after_prefix(common);
                continue 'ranges;
            }
            last = Some(format!("k{key}"));
            page.objects.push(info.clone());
        }
        return page;
    }
}

fn as_str(bound: &Bound<String>) -> Bound<&str> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

/// The first key that could follow all keys with this prefix: its last character that has a successor is raised.
fn after_prefix(prefix: &str) -> Bound<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        if let Some(next) = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32) {
            characters.push(next);
            return Bound::Included(characters.into_iter().collect());
        }
    }
    // Nothing can follow a prefix of highest characters only.
    Bound::Excluded(prefix.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn objects(keys: &[String]) -> BTreeMap<String, Arc<ObjectInfo>> {
        keys.iter()
            .map(|key| (key.clone(), Arc::new(ObjectInfo { key: key.clone(), ..ObjectInfo::default() })))
            .collect()
    }

    proptest! {
        /// Pages put together are what one looks up in the simplest way.
        #[test]
        fn pages_add_up(
            keys in prop::collection::vec("[ab/é]{1,5}", 0..30), prefix in "[ab/]{0,2}", delimited: bool, max_keys in 1usize..5
        ) {
            let objects = objects(&keys);
            let delimiter = delimited.then_some("/");
            let (mut found, mut commons, mut token) = (Vec::new(), Vec::new(), None::<String>);
            loop {
                let query = Query { prefix: &prefix, delimiter, token: token.as_deref(), max_keys, ..Query::default() };
                let page = list(&objects, &query);
                prop_assert!(page.len() <= max_keys);
                found.extend(page.objects.iter().map(|info| info.key.clone()));
                commons.extend(page.common_prefixes.clone());
                token = page.next;
                if token.is_none() { break }
            }
            let (mut plain, mut rolled) = (Vec::new(), std::collections::BTreeSet::new());
            for key in objects.keys().filter(|key| key.starts_with(&prefix)) {
                match key[prefix.len()..].find('/').filter(|_| delimited) {
                    Some(at) => { rolled.insert(key[..=prefix.len() + at].to_owned()); }
                    None => plain.push(key.clone()),
                }
            }
            prop_assert_eq!(found, plain);
            prop_assert_eq!(commons, rolled.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn start_after_skips() {
        let objects = objects(&["a/1".into(), "a/2".into(), "b".into()]);
        let query = Query { start_after: Some("a/1"), max_keys: 9, ..Query::default() };
        let keys: Vec<_> = list(&objects, &query).objects.iter().map(|info| info.key.clone()).collect();
        assert_eq!(keys, ["a/2", "b"]);
    }
}

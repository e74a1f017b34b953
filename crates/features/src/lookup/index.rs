//! The row of some keys: an open-addressed hash table over keys of fixed width.

use super::{LookupKeys, MAX_KEYS};

/// Keys as words of 64 bits: an integer's bits, a boolean's 0 or 1, a text's number in its column's dictionary.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    width: usize,
    /// Row by row.
    words: Vec<u64>,
    /// Row + 1, or 0 where the slot is free; their number is a power of two, and at least half of them are free.
    slots: Vec<u32>,
    /// One per key column; empty for those that are no texts.
    dictionaries: Vec<Dictionary>,
}

/// The different texts of a key column, numbered in order.
#[derive(Debug, Clone, Default)]
struct Dictionary {
    texts: Vec<String>,
    slots: Vec<u32>,
}

impl Index {
    pub(super) fn new(columns: &[&LookupKeys], rows: usize) -> Self {
        let dictionary = |column: &&LookupKeys| match column {
            LookupKeys::String(texts) => Dictionary::new(texts),
            LookupKeys::Int(_) | LookupKeys::Bool(_) => Dictionary::default(),
        };
        let width = columns.len();
        let mut index = Self {
            width,
            words: Vec::with_capacity(rows * width),
            slots: vec![0; slot_count(rows)],
            dictionaries: columns.iter().map(dictionary).collect(),
        };
        for row in 0..rows {
            for (place, column) in columns.iter().enumerate() {
                let word = match column {
                    LookupKeys::Int(keys) => keys[row] as u64,
                    LookupKeys::Bool(keys) => u64::from(keys[row]),
                    LookupKeys::String(keys) => index.text_word(place, &keys[row]).unwrap_or(u64::MAX),
                };
                index.words.push(word);
            }
            let mut slot = hash(&index.words[row * width..]) as usize & (index.slots.len() - 1);
            while index.slots[slot] != 0 {
                slot = (slot + 1) & (index.slots.len() - 1);
            }
            index.slots[slot] = row as u32 + 1;
        }
        index
    }

    /// The word of a text of key column `column`; `None` where no row has it.
    pub(crate) fn text_word(&self, column: usize, text: &str) -> Option<u64> {
        self.dictionaries[column].find(text)
    }

    /// The row of these words, one per key column.
    pub(crate) fn find(&self, words: &[u64]) -> Option<usize> {
        let mut slot = hash(words) as usize & (self.slots.len() - 1);
        loop {
            let row = (self.slots[slot] as usize).checked_sub(1)?;
            if self.words[row * self.width..(row + 1) * self.width] == *words {
                return Some(row);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }
}

impl Dictionary {
    fn new(texts: &[String]) -> Self {
        let mut texts = texts.to_vec();
        texts.sort_unstable();
        texts.dedup();
        let mut slots = vec![0; slot_count(texts.len())];
        for (number, text) in texts.iter().enumerate() {
            let mut slot = hash_text(text) as usize & (slots.len() - 1);
            while slots[slot] != 0 {
                slot = (slot + 1) & (slots.len() - 1);
            }
            slots[slot] = number as u32 + 1;
        }
        Self { texts, slots }
    }

    fn find(&self, text: &str) -> Option<u64> {
        let mut slot = hash_text(text) as usize & self.slots.len().checked_sub(1)?;
        loop {
            let number = (self.slots[slot] as usize).checked_sub(1)?;
            if self.texts[number] == text {
                return Some(number as u64);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }
}

fn slot_count(entries: usize) -> usize {
    (entries * 2).max(2).next_power_of_two()
}

fn hash_text(text: &str) -> u64 {
    twox_hash::XxHash64::oneshot(0, text.as_bytes())
}

/// Of the first [`MAX_KEYS`] words. The finaliser of SplitMix64 after each (Steele, Lea, Flood 2014): the same on every machine.
fn hash(words: &[u64]) -> u64 {
    words.iter().take(MAX_KEYS).fold(0x9e37_79b9_7f4a_7c15, |hash: u64, word| {
        let mut z = (hash ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

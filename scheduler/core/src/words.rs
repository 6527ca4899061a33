//! A program and its arguments in one allocation: a million jobs that differ in these
//! alone keep little else of their own.

use serde::{Deserialize, Serialize};

/// Ends every word; no word has it, since no program could be given it.
const END: char = '\0';

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words(Box<str>);

impl Words {
    /// Of words without NUL characters, as [`crate::spec::BatchSpec::validate`] sees to.
    pub fn new(words: &[String]) -> Self {
        let bytes = words.iter().map(|word| word.len() + 1).sum();
        let mut all = String::with_capacity(bytes);
        for word in words {
            all.push_str(word);
            all.push(END);
        }
        Words(all.into_boxed_str())
    }

    /// The words, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator(END)
    }

    /// As they were given.
    pub fn to_vec(&self) -> Vec<String> {
        self.iter().map(String::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_as_they_were_given() {
        for words in [vec![], vec![""], vec!["a", "", "b c", ""], vec!["", "ü\n"]] {
            let words: Vec<String> = words.into_iter().map(String::from).collect();
            assert_eq!(Words::new(&words).to_vec(), words);
        }
    }
}

//! Patterns: `*` and `?`, and policy variables.
//!
//! A pattern is compiled once. Most are decided by their literal beginning, and others by trying behind the last star again and
//! again ([`backtrack`]), which is given up where it takes too long: then all tries are made at once ([`in_parallel`]), so that
//! no pattern and no text take more time than their lengths multiplied, divided by 64.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::request::{Context, Found};

/// A compiled pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern {
    pieces: Vec<Piece>,
    fold: bool,
    /// The literal text that it begins with, and what is behind that: most patterns are decided by these two alone.
    head: String,
    behind: Behind,
}

/// What is behind a pattern's literal beginning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Behind {
    Nothing,
    /// One star. Whether it stands in the last segment of an ARN.
    Anything {
        last: bool,
    },
    /// More wildcards, or variables.
    More,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Symbols(Vec<Symbol>),
    /// `${key}` or `${key, 'default'}`: the value stands for itself, wildcards in it included.
    Variable {
        key: String,
        /// The key as it was written.
        name: Box<str>,
        default: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Symbol {
    Char(char),
    /// `?`: one character.
    One,
    /// `*`: any characters, none too.
    Many,
}

/// How a pattern's text is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Syntax {
    /// Whether `*` and `?` are wildcards.
    pub wildcards: bool,
    /// Whether `${...}` is a policy variable: in documents of version 2012-10-17.
    pub variables: bool,
    /// Whether case is ignored.
    pub fold: bool,
}

impl Pattern {
    /// Compiles `text`.
    pub fn new(text: &str, syntax: Syntax) -> Self {
        let mut pieces = Vec::new();
        let mut symbols = Vec::new();
        let mut rest = text;
        while let Some(char) = rest.chars().next() {
            if let Some((variable, after)) = variable(rest).filter(|_| syntax.variables) {
                match variable {
                    Ok(literal) => symbols.push(Symbol::Char(literal)),
                    Err(variable) => {
                        pieces.push(Piece::Symbols(std::mem::take(&mut symbols)));
                        pieces.push(variable);
                    }
                }
                rest = after;
                continue;
            }
            symbols.push(match char {
                '*' if syntax.wildcards => Symbol::Many,
                '?' if syntax.wildcards => Symbol::One,
                char => Symbol::Char(char),
            });
            rest = &rest[char.len_utf8()..];
        }
        pieces.push(Piece::Symbols(symbols));
        let (head, behind) = head(&pieces);
        Self { pieces, fold: syntax.fold, head, behind }
    }

    /// Whether `text` begins as every text does that matches.
    fn begins(&self, text: &str) -> bool {
        let head = self.head.as_bytes();
        text.as_bytes()
            .get(..head.len())
            .is_some_and(|text| if self.fold { text.eq_ignore_ascii_case(head) } else { text == head })
    }

    /// Whether `text` matches. A variable that has no value, and no default, matches nothing.
    pub fn matches(&self, text: &str, context: &dyn Context) -> bool {
        if !self.begins(text) {
            return false;
        }
        match self.behind {
            Behind::Nothing => return text.len() == self.head.len(),
            Behind::Anything { .. } => return true,
            Behind::More => {}
        }
        match self.pieces.as_slice() {
            [Piece::Symbols(symbols)] => glob(symbols, text, self.fold),
            pieces => expand(pieces, context).is_some_and(|symbols| glob(&symbols, text, self.fold)),
        }
    }

    /// Whether all of its variables have values.
    pub fn is_known(&self, context: &dyn Context) -> bool {
        match self.pieces.as_slice() {
            [Piece::Symbols(_)] => true,
            pieces => expand(pieces, context).is_some(),
        }
    }

    /// As [`Self::matches`] for ARNs: each of the six segments by itself, so that no wildcard reaches across a colon. The
    /// last takes all the rest.
    pub fn matches_arn(&self, text: &str, context: &dyn Context) -> bool {
        // Before the first wildcard, segments match as their texts do.
        if !self.begins(text) {
            return false;
        }
        match self.behind {
            Behind::Nothing => return text.len() == self.head.len(),
            Behind::Anything { last: true } => return true,
            Behind::Anything { last: false } | Behind::More => {}
        }
        let whole;
        let symbols = match self.pieces.as_slice() {
            [Piece::Symbols(symbols)] => symbols,
            pieces => match expand(pieces, context) {
                Some(symbols) => {
                    whole = symbols;
                    &whole
                }
                None => return false,
            },
        };
        let mut pattern = symbols.splitn(6, |symbol| *symbol == Symbol::Char(':'));
        let mut text = text.splitn(6, ':');
        loop {
            match (pattern.next(), text.next()) {
                (None, None) => return true,
                (Some(symbols), Some(segment)) if glob(symbols, segment, self.fold) => {}
                _ => return false,
            }
        }
    }

    /// How much there is to judge: one, and more if it is long.
    pub fn extent(&self) -> usize {
        let symbols =
            self.pieces.iter().map(|piece| if let Piece::Symbols(symbols) = piece { symbols.len() } else { 1 });
        1 + symbols.sum::<usize>() / 32
    }

    /// The keys (in lower case) whose values stand in it.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable { key, .. } => Some(key.as_str()),
            Piece::Symbols(_) => None,
        })
    }

    /// The same as they are written, and whether there is no value without them.
    pub fn context_keys(&self) -> impl Iterator<Item = (&str, bool)> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable { name, default, .. } => Some((&**name, default.is_none())),
            Piece::Symbols(_) => None,
        })
    }

    /// The text that it matches, if that is one text.
    pub fn literal(&self) -> Option<String> {
        let [Piece::Symbols(symbols)] = self.pieces.as_slice() else { return None };
        symbols.iter().map(|symbol| if let Symbol::Char(char) = symbol { Some(*char) } else { None }).collect()
    }

    /// Whether every ARN that it matches is of the one account it names.
    pub(super) fn fixes_account(&self) -> bool {
        let [Piece::Symbols(symbols)] = self.pieces.as_slice() else { return false };
        // A star before the account could stand for colons, and so shift it.
        let mut fields = symbols.splitn(6, |symbol| *symbol == Symbol::Char(':'));
        let is_digit = |symbol: &Symbol| matches!(symbol, Symbol::Char(digit) if digit.is_ascii_digit());
        let before_is_literal = fields.by_ref().take(4).all(|field| !field.contains(&Symbol::Many));
        let account = fields.next();
        before_is_literal && account.is_some_and(|account| account.len() == 12 && account.iter().all(is_digit))
    }

    /// Whether some text beginning with `prefix` may match, and none other. For judging documents, not requests.
    pub fn stays_within(&self, prefix: &str) -> bool {
        let [Piece::Symbols(symbols), ..] = self.pieces.as_slice() else { return false };
        let mut symbols = symbols.iter();
        prefix.chars().all(|char| symbols.next() == Some(&Symbol::Char(char)))
    }
}

/// The literal beginning of a pattern of `pieces`, and what is behind it.
fn head(pieces: &[Piece]) -> (String, Behind) {
    let [Piece::Symbols(symbols), more @ ..] = pieces else { return (String::new(), Behind::More) };
    let char = |symbol: &Symbol| if let Symbol::Char(char) = symbol { Some(*char) } else { None };
    let head: String = symbols.iter().map_while(char).collect();
    let behind = match &symbols[head.chars().count()..] {
        [] if more.is_empty() => Behind::Nothing,
        [Symbol::Many] if more.is_empty() => Behind::Anything { last: head.matches(':').count() >= 5 },
        _ => Behind::More,
    };
    (head, behind)
}

/// A variable at the beginning of `text`, and what follows it: a literal character (`${*}`), or one to look up.
fn variable(text: &str) -> Option<(Result<char, Piece>, &str)> {
    let (inner, after) = text.strip_prefix("${")?.split_once('}')?;
    if let Some(literal @ ('*' | '?' | '$')) = inner.chars().next().filter(|_| inner.len() == 1) {
        return Some((Ok(literal), after));
    }
    let (key, default) = match inner.split_once(',') {
        Some((key, default)) => {
            let default = default.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            (key, Some(default.to_owned()))
        }
        None => (inner, None),
    };
    let (name, key) = (Box::from(key.trim()), key.trim().to_ascii_lowercase());
    Some((Err(Piece::Variable { key, name, default }), after))
}

fn expand(pieces: &[Piece], context: &dyn Context) -> Option<Vec<Symbol>> {
    let mut symbols = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Symbols(more) => symbols.extend_from_slice(more),
            Piece::Variable { key, default, .. } => {
                let value = match context.find(key) {
                    Found::One(value) => value,
                    // Several values have no one text.
                    Found::None | Found::Many(_) => Cow::Borrowed(default.as_deref()?),
                };
                symbols.extend(value.chars().map(Symbol::Char));
            }
        }
    }
    Some(symbols)
}

fn glob(pattern: &[Symbol], text: &str, fold: bool) -> bool {
    let most = 16 * (pattern.len() + text.len());
    backtrack(pattern, text, fold, most).unwrap_or_else(|| in_parallel(pattern, text, fold))
}

/// Whether `text` matches; `None` if that is not known after `most` steps.
fn backtrack(pattern: &[Symbol], text: &str, fold: bool, most: usize) -> Option<bool> {
    let same = |a: char, b: char| a == b || (fold && a.eq_ignore_ascii_case(&b));
    let (mut at, mut rest) = (0, text.chars());
    // Where to go on if the present try fails: behind the last star, one character further.
    let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
    for _ in 0..=most {
        match pattern.get(at) {
            Some(Symbol::Many) => {
                at += 1;
                retry = Some((at, rest.clone()));
                continue;
            }
            Some(symbol) => {
                let mut after = rest.clone();
                if let Some(char) = after.next()
                    && match symbol {
                        Symbol::Char(expected) => same(*expected, char),
                        Symbol::One | Symbol::Many => true,
                    }
                {
                    (at, rest) = (at + 1, after);
                    continue;
                }
            }
            None if rest.as_str().is_empty() => return Some(true),
            None => {}
        }
        let Some((star, from)) = &mut retry else { return Some(false) };
        if from.next().is_none() {
            return Some(false);
        }
        (at, rest) = (*star, from.clone());
    }
    None
}

/// Whether `text` matches, by all ways at once.
fn in_parallel(pattern: &[Symbol], text: &str, fold: bool) -> bool {
    let same = |char: char| if fold { char.to_ascii_lowercase() } else { char };
    let end = pattern.iter().filter(|symbol| **symbol != Symbol::Many).count();
    // A bit for each place: before the first symbol that is no star, before the second, and so on to the end.
    let nowhere = vec![0_u64; end / 64 + 1];
    let (mut stars, mut takes_any) = (nowhere.clone(), nowhere.clone());
    let mut takes: BTreeMap<char, Vec<(usize, u64)>> = BTreeMap::new();
    let mut at = 0;
    for symbol in pattern {
        let (word, bit) = (at / 64, 1 << (at % 64));
        match symbol {
            Symbol::Many => stars[word] |= bit,
            Symbol::One => takes_any[word] |= bit,
            Symbol::Char(char) => {
                let words = takes.entry(same(*char)).or_default();
                match words.last_mut() {
                    Some((last, bits)) if *last == word => *bits |= bit,
                    _ => words.push((word, bit)),
                }
            }
        }
        at += usize::from(*symbol != Symbol::Many);
    }
    // The places that what was read of the text may end at.
    let mut places = nowhere.clone();
    places[0] = 1;
    let mut taking = nowhere;
    for char in text.chars() {
        taking.copy_from_slice(&takes_any);
        for (word, bits) in takes.get(&same(char)).into_iter().flatten() {
            taking[*word] |= bits;
        }
        let mut carried = 0;
        for ((places, taking), stars) in places.iter_mut().zip(&taking).zip(&stars) {
            let moved = *places & taking;
            *places = (*places & stars) | (moved << 1) | carried;
            carried = moved >> 63;
        }
    }
    places[end / 64] & (1 << (end % 64)) != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn symbols(text: &str) -> Vec<Symbol> {
        let symbol = |char| match char {
            '*' => Symbol::Many,
            '?' => Symbol::One,
            char => Symbol::Char(char),
        };
        text.chars().map(symbol).collect()
    }

    #[test]
    fn what_takes_too_long_is_matched_at_once() {
        let (pattern, text) = (symbols(&format!("*{}b", "a".repeat(5900))), "a".repeat(300_000));
        assert_eq!(backtrack(&pattern, &text, false, 1_000_000), None);
        assert!(!glob(&pattern, &text, false));
        assert!(glob(&pattern, &format!("{text}b"), false));
        assert!(glob(&pattern, &format!("{text}B"), true));
        assert_eq!(backtrack(&symbols("arn:aws:s3:::b/*/x"), "arn:aws:s3:::b/k/x", false, 100), Some(true));
    }

    proptest! {
        #[test]
        fn both_ways_of_matching_agree(
            pattern in "[aAb\u{fc}*?]{0,12}|[ab]{60,66}[*?b]{0,3}[ab]{60,66}",
            text in "[aAb\u{fc}]{0,14}|[ab]{120,140}",
            fold in any::<bool>(),
        ) {
            let pattern = symbols(&pattern);
            let expected = backtrack(&pattern, &text, fold, usize::MAX - 1).unwrap();
            prop_assert_eq!(in_parallel(&pattern, &text, fold), expected);
        }

        #[test]
        fn what_a_pattern_was_made_from_matches(text in "[ab]{100,200}", from in 0_usize..50, to in 51_usize..100) {
            let pattern = symbols(&format!("{}*{}", &text[..from], &text[to..]));
            prop_assert!(in_parallel(&pattern, &text, false));
        }
    }
}

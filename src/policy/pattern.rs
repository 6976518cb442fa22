//! Patterns: `*` and `?`, and policy variables.
//!
//! A pattern is compiled once. Matching takes time proportional to the text times the number of stars at most, whatever
//! the text: it never backtracks beyond the last star.

use std::borrow::Cow;

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
    let same = |a: char, b: char| a == b || (fold && a.eq_ignore_ascii_case(&b));
    let (mut at, mut rest) = (0, text.chars());
    // Where to go on if the present try fails: behind the last star, one character further.
    let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
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
            None if rest.as_str().is_empty() => return true,
            None => {}
        }
        let Some((star, from)) = &mut retry else { return false };
        if from.next().is_none() {
            return false;
        }
        (at, rest) = (*star, from.clone());
    }
}

//! A tool's options as a list: each option is followed by its value.

use anyhow::{Result, bail, ensure};

/// Pushes an option with its value.
pub fn push(options: &mut Vec<String>, flag: &str, value: impl ToString) {
    options.extend([flag.to_owned(), value.to_string()]);
}

/// The options with their values.
///
/// # Errors
/// The last has none.
pub fn pairs(options: &[String]) -> Result<Vec<(&str, &str)>> {
    ensure!(options.len() % 2 == 0, "its last option has no value");
    let pairs = options.chunks(2).map(|pair| (&*pair[0], &*pair[1]));
    Ok(pairs.collect())
}

/// The value of an option.
pub fn value<'a>(options: &'a [String], flag: &str) -> Option<&'a str> {
    let mut pairs = options.chunks_exact(2);
    pairs.find(|pair| pair[0] == flag).map(|pair| &*pair[1])
}

/// Gives an option another value, or adds it.
pub fn set(options: &mut Vec<String>, flag: &str, new: &str) {
    match options.chunks_exact_mut(2).find(|pair| pair[0] == flag) {
        Some(pair) => new.clone_into(&mut pair[1]),
        None => push(options, flag, new),
    }
}

/// What a value may be.
pub enum Shape {
    /// A decimal number.
    Number,
    /// A decimal number with a fraction.
    Fraction,
    /// One of these.
    Word(&'static [&'static str]),
    /// Words separated by commas, each one of these.
    Words(&'static [&'static str]),
    /// `name=number` separated by commas, each name one of these.
    Settings(&'static [&'static str]),
    /// Words of `[a-z0-9_^:=.-]` separated by commas, each beginning with one
    /// of these.
    Beginning(&'static [&'static str]),
}

/// Fails unless each option is in the grammar, once, with a value of its shape.
pub fn check(options: &[String], grammar: &[(&str, Shape)]) -> Result<()> {
    let pairs = pairs(options)?;
    for (at, (flag, value)) in pairs.iter().enumerate() {
        let known = grammar.iter().find(|(known, _)| known == flag);
        let Some((_, shape)) = known else {
            bail!("{flag:?} is no option that a plan may have");
        };
        ensure!(
            shape.fits(value),
            "the option {flag} cannot have the value {value:?}"
        );
        // A setting's names may be spread over several.
        let again = pairs[..at].iter().any(|(before, _)| before == flag);
        ensure!(!again, "the option {flag} is there twice");
    }
    Ok(())
}

impl Shape {
    fn fits(&self, value: &str) -> bool {
        let number = |text: &str| {
            (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        match self {
            Self::Number => number(value),
            Self::Fraction => match value.split_once('.') {
                Some((whole, part)) => number(whole) && number(part),
                None => number(value),
            },
            Self::Word(words) => words.contains(&value),
            Self::Words(words) => value.split(',').all(|word| words.contains(&word)),
            Self::Settings(names) => value.split(',').all(|setting| {
                let setting = setting.split_once('=');
                setting.is_some_and(|(name, value)| names.contains(&name) && number(value))
            }),
            Self::Beginning(starts) => value.split(',').all(|word| {
                let harmless = |c: char| c.is_ascii_alphanumeric() || "_^:=.-".contains(c);
                word.chars().all(harmless) && starts.iter().any(|start| word.starts_with(start))
            }),
        }
    }
}

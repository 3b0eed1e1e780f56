//! Reads one source file: its words, and its paths that begin with `crate`, `super` or `self`.

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Group, LexError, Span, TokenStream, TokenTree};

/// The tokens of a file, without comments and unit tests.
#[derive(Debug)]
pub(super) struct Source(Vec<Token>);

#[derive(Debug)]
struct Token {
    text: String,
    line: usize,
}

impl Token {
    fn new(text: &str, span: Span) -> Self {
        Self {
            text: text.to_owned(),
            line: span.start().line,
        }
    }
}

impl Source {
    pub(super) fn of(text: &str) -> Result<Self> {
        let parsed = text.parse().map_err(|error: LexError| anyhow!("{error}"))?;
        let mut tokens = Vec::new();
        flatten(parsed, &mut tokens);
        Ok(Self(tokens))
    }

    /// Each path with its line. A `use` with braces yields each of its paths.
    pub(super) fn paths(&self) -> Vec<(usize, Vec<&str>)> {
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(token) = self.0.get(at) {
            let is_used = at > 0 && self.text(at - 1) == "use" && is_name(&token.text);
            let begins = is_used || matches!(&*token.text, "crate" | "super" | "self");
            if begins && self.is_separator(at + 1) {
                let mut paths = Vec::new();
                at = self.read(at, &[], &mut paths);
                found.extend(paths.into_iter().map(|path| (token.line, path)));
            } else {
                at += 1;
            }
        }
        found
    }

    /// Reads a path, or a list in braces; returns where it ends.
    fn read<'a>(
        &'a self,
        begin: usize,
        before: &[&'a str],
        found: &mut Vec<Vec<&'a str>>,
    ) -> usize {
        let mut path = before.to_vec();
        let mut at = begin;
        while is_name(self.text(at)) {
            path.push(self.text(at));
            at += 1;
            if !self.is_separator(at) {
                break;
            }
            at += 2;
            if self.text(at) == "{" {
                at += 1;
                while !matches!(self.text(at), "}" | "") {
                    at = self.read(at, &path, found);
                    // Skip a rename and the comma.
                    while !matches!(self.text(at), "," | "}" | "") {
                        at += 1;
                    }
                    at += usize::from(self.text(at) == ",");
                }
                return at + 1;
            }
        }
        found.push(path);
        at
    }

    /// The lines that contain one of these words, which have spaces between. Spaces in the source do
    /// not count.
    pub(super) fn words<'a>(&self, words: &'a str) -> Vec<(usize, &'a str)> {
        let mut dense = String::new();
        let mut lines = Vec::new();
        for token in &self.0 {
            dense.push_str(&token.text);
            lines.resize(dense.len(), token.line);
        }
        let mut found = Vec::new();
        for word in words.split(' ') {
            let places = dense.match_indices(word);
            found.extend(places.map(|(at, _)| (lines[at], word)));
        }
        found
    }

    /// A token's text; empty after the end.
    fn text(&self, at: usize) -> &str {
        self.0.get(at).map_or("", |token| &token.text)
    }

    fn is_separator(&self, at: usize) -> bool {
        self.text(at) == ":" && self.text(at + 1) == ":"
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Lists all tokens, with the brackets of groups.
fn flatten(tokens: TokenStream, flat: &mut Vec<Token>) {
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        let TokenTree::Group(group) = token else {
            flat.push(Token::new(&token.to_string(), token.span()));
            continue;
        };
        let attribute = attribute(&group);
        if attribute == "cfg(test)" {
            // Skip what has this attribute.
            tokens.find(is_end);
        } else if !attribute.starts_with("doc=\"") {
            let (open, close) = match group.delimiter() {
                Delimiter::Parenthesis => ("(", ")"),
                Delimiter::Brace => ("{", "}"),
                Delimiter::Bracket => ("[", "]"),
                Delimiter::None => ("", ""),
            };
            flat.push(Token::new(open, group.span_open()));
            flatten(group.stream(), flat);
            flat.push(Token::new(close, group.span_close()));
        }
    }
}

/// The content of an attribute, without spaces. A comment for documentation is one, too: `doc="…"`.
fn attribute(group: &Group) -> String {
    match group.delimiter() {
        Delimiter::Bracket => group.stream().to_string().replace(' ', ""),
        _ => String::new(),
    }
}

/// Whether an item ends with this.
fn is_end(token: &TokenTree) -> bool {
    match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    }
}

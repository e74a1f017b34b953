//! BigQuery's words, where the tokenizer's are others.

use sqlparser::{
    dialect::BigQueryDialect,
    keywords::Keyword,
    parser::Parser,
    tokenizer::{Token, TokenWithSpan, Tokenizer},
};

use super::syntax;
use crate::error::{Result, WarehouseError};

/// The tokens, with `?` numbered in the order in which they stand, and how many there are. Literals are as they are written:
/// see [`unescape`].
pub(super) fn tokens(sql: &str) -> Result<(Vec<TokenWithSpan>, usize)> {
    let tokens = Tokenizer::new(&BigQueryDialect, sql).with_unescape(false).tokenize_with_location();
    let mut tokens = tokens.map_err(|error| WarehouseError::InvalidQuery(format!("Syntax error: {error}")))?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    let (mut positional, mut parameter) = (0, false);
    for token in &mut tokens {
        match &mut token.token {
            Token::Placeholder(mark) if mark == "?" => {
                positional += 1;
                *mark = format!("?{positional}");
            }
            // `x<@name`: to the tokenizer an operator of another dialect and a word.
            Token::ArrowAt => {
                token.token = Token::Lt;
                parameter = true;
                continue;
            }
            Token::Word(word) if parameter => {
                word.value.insert(0, '@');
                word.keyword = Keyword::NoKeyword;
            }
            _ => {}
        }
        parameter = false;
    }
    aliases_after_versions(&mut tokens)?;
    Ok((tokens, positional))
}

/// BigQuery has a table's alias before FOR SYSTEM_TIME AS OF, the parser wants it behind.
fn aliases_after_versions(tokens: &mut [TokenWithSpan]) -> Result<()> {
    let is = |token: Option<&TokenWithSpan>, text: &str| matches!(token.map(|token| &token.token), Some(Token::Word(word)) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text));
    let mut at = 0;
    while at < tokens.len() {
        let version = ["FOR", "SYSTEM_TIME", "AS", "OF"];
        let found = version.iter().enumerate().all(|(index, text)| is(tokens.get(at + index), text));
        let name = |index: Option<usize>| index.and_then(|index| tokens.get(index));
        let word = |index: Option<usize>| matches!(name(index).map(|token| &token.token), Some(Token::Word(_)));
        let alias = if !found {
            0
        } else if is(name(at.checked_sub(2)), "AS") {
            2
        } else {
            let before = at.checked_sub(2);
            let table = word(before) && !["FROM", "JOIN"].iter().any(|keyword| is(name(before), keyword));
            usize::from(table && word(at.checked_sub(1)))
        };
        if alias > 0 {
            let rest = tokens[at + version.len()..].to_vec();
            let mut parser = Parser::new(&BigQueryDialect).with_recursion_limit(100).with_tokens_with_locations(rest);
            parser.parse_expr().map_err(|error| syntax(&error))?;
            let end = at + version.len() + parser.index();
            tokens[at - alias..end].rotate_left(alias);
        }
        at += 1;
    }
    Ok(())
}

/// What a literal of STRING or BYTES that is not raw says.
/// <https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical#escape_sequences>
pub(super) fn unescape(text: &str, bytes: bool) -> Result<Vec<u8>> {
    let wrong = || WarehouseError::InvalidQuery(format!("Syntax error: Illegal escape sequence in literal \"{text}\""));
    let mut found = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        found.extend(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let escape = rest.chars().next().ok_or_else(wrong)?;
        let digits = |from: usize, count: usize, radix: u32| {
            rest.get(from..from + count).and_then(|digits| u32::from_str_radix(digits, radix).ok()).ok_or_else(wrong)
        };
        let (code, length) = match escape {
            'a' => (7, 1),
            'b' => (8, 1),
            'f' => (12, 1),
            'n' => (10, 1),
            'r' => (13, 1),
            't' => (9, 1),
            'v' => (11, 1),
            '\\' | '?' | '"' | '\'' | '`' => (u32::from(escape), 1),
            'x' | 'X' => (digits(1, 2, 16)?, 3),
            'u' if !bytes => (digits(1, 4, 16)?, 5),
            'U' if !bytes => (digits(1, 8, 16)?, 9),
            '0'..='3' => (digits(0, 3, 8)?, 3),
            _ => return Err(wrong()),
        };
        if bytes {
            found.push(u8::try_from(code).map_err(|_| wrong())?);
        } else {
            let char = char::from_u32(code).ok_or_else(wrong)?;
            found.extend(char.encode_utf8(&mut [0; 4]).as_bytes());
        }
        rest = &rest[length..];
    }
    found.extend(rest.as_bytes());
    Ok(found)
}

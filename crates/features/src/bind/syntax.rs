//! Text into sqlparser's tree, and places in it.

use sqlparser::{
    ast::{Expr, Spanned as _},
    dialect::GenericDialect,
    keywords::Keyword,
    parser::Parser,
    tokenizer::{Span, Token, Tokenizer},
};

use super::{Binder, Context, Result};
use crate::FeatureError;

/// Longer expressions are refused: they are generated, or an attack.
const MAX_EXPRESSION_BYTES: usize = 16 * 1024;
/// A chain of operators (`a + b + c …`) is a tree as deep as it is long, and trees are walked by recursion.
const MAX_OPERATORS: usize = 400;
/// sqlparser's own limit on nesting.
const MAX_NESTING: usize = 50;

impl Binder<'_> {
    pub(super) fn parse(&self, text: &str, context: &Context<'_>) -> Result<Expr> {
        if text.len() > MAX_EXPRESSION_BYTES {
            let message = format!("the expression has {} bytes; at most {MAX_EXPRESSION_BYTES} are taken", text.len());
            return Err(self.error(context, Span::empty(), "expression_too_long", message));
        }
        let syntax = |message: String| {
            // sqlparser appends " at Line: 1, Column: 7".
            let (message, place) = message.split_once(" at Line: ").unwrap_or((&message, ""));
            let mut numbers = place.split(", Column: ").filter_map(|number| number.trim().parse::<u64>().ok());
            let (line, column) = (numbers.next().unwrap_or(1), numbers.next().unwrap_or(1));
            FeatureError::Spec {
                location: self.source.inside(&context.span, line, column),
                reason: "syntax",
                message: format!("{}: {}", context.what, message.trim_start_matches("sql parser error: ")),
                expected: None,
            }
        };
        let dialect = GenericDialect {};
        let tokens = Tokenizer::new(&dialect, text)
            .tokenize_with_location()
            .map_err(|error| syntax(format!("sql parser error: {error}")))?;
        let operators = tokens.iter().filter(|token| deepens(&token.token)).count();
        if operators > MAX_OPERATORS {
            let message = format!("the expression has {operators} operators; at most {MAX_OPERATORS} are taken");
            let expected = "name its parts as features of their own, or use IN".to_owned();
            return Err(self.error_expecting(context, Span::empty(), "expression_too_long", message, Some(expected)));
        }
        let mut parser = Parser::new(&dialect).with_recursion_limit(MAX_NESTING).with_tokens_with_locations(tokens);
        let expression = parser.parse_expr().map_err(|error| syntax(error.to_string()))?;
        let rest = parser.next_token();
        if rest.token != Token::EOF {
            let message = format!("`{}` is left over after the expression", rest.token);
            return Err(self.error(context, rest.span, "syntax", message));
        }
        Ok(expression)
    }
}

/// Where an expression begins. Not sqlparser's span, which visits the whole tree, by recursion, at every call.
pub(super) fn place(expression: &Expr) -> Span {
    let mut expression = expression;
    loop {
        expression = match expression {
            Expr::BinaryOp { left, .. } => left,
            Expr::Nested(inner)
            | Expr::UnaryOp { expr: inner, .. }
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::Between { expr: inner, .. }
            | Expr::In { expr: inner, .. }
            | Expr::Cast { expr: inner, .. }
            | Expr::Extract { expr: inner, .. }
            | Expr::AtTimeZone { timestamp: inner, .. }
            | Expr::Floor { expr: inner, .. }
            | Expr::Ceil { expr: inner, .. }
            | Expr::Substring { expr: inner, .. }
            | Expr::Like { expr: inner, .. }
            | Expr::Trim { expr: inner, .. } => inner,
            Expr::Identifier(name) => return name.span,
            Expr::Value(value) => return value.span,
            Expr::TypedString(literal) => return literal.value.span,
            Expr::Function(function) => return function.name.span(),
            Expr::Case { case_token, .. } => return case_token.0.span,
            _ => return Span::empty(),
        };
    }
}

/// Whether a token can make the tree one level deeper without a parenthesis.
fn deepens(token: &Token) -> bool {
    match token {
        Token::Word(word) => !matches!(word.keyword, Keyword::NoKeyword | Keyword::WHEN | Keyword::THEN),
        Token::Whitespace(_)
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Comma
        | Token::LParen
        | Token::RParen
        | Token::EOF => false,
        _ => true,
    }
}

/// An expression's tokens with one space between: the same for any layout and comments.
pub(crate) fn canonical(text: &str) -> String {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize().unwrap_or_default();
    let kept: Vec<String> =
        tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).map(ToString::to_string).collect();
    kept.join(" ")
}

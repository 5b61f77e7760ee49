//! Which expressions may stand where in a question.
//!
//! Invariants: none holds the pseudonym or a question of its own; none can fail because of one row's
//! value, for a failure would tell that there is such a row; what is summed up is linear in its columns,
//! so that no condition can hide one patient's value in a sum over many.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

pub(crate) use aegle_lake::catalogue::PSEUDONYM;

/// An expression that may not stand where it does.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The pseudonym.
    #[error(
        "`patient` may stand only in `ON a.patient = b.patient` and in `count(DISTINCT patient)`"
    )]
    Pseudonym,
    /// Something that is not named here.
    #[error("`{0}` may not stand in a question, or not there")]
    Unknown(String),
    /// A sum of something else than columns.
    #[error(
        "`{0}` cannot be aggregated: aggregate columns, and sums and multiples of them; conditions \
         belong into WHERE or GROUP BY"
    )]
    NotLinear(String),
}

/// Functions that never fail, whatever the row.
const FUNCTIONS: [&str; 19] = [
    "abs",
    "btrim",
    "ceil",
    "character_length",
    "coalesce",
    "date_part",
    "date_trunc",
    "floor",
    "greatest",
    "least",
    "left",
    "lower",
    "nullif",
    "right",
    "round",
    "starts_with",
    "strpos",
    "substr",
    "upper",
];

/// Checks an expression over rows: of a condition, of a group.
pub(crate) fn below(expression: &Expr) -> Result<(), Refusal> {
    every_part(expression, &|part| match part {
        Expr::Column(column) if column.name == PSEUDONYM => Err(Refusal::Pseudonym),
        Expr::BinaryExpr(BinaryExpr { op: Operator::Divide | Operator::Modulo, right, .. })
            if !is_nonzero(right) =>
        {
            Err(unknown(part))
        }
        Expr::Cast(cast) if !matches!(*cast.expr, Expr::Literal(..)) => Err(unknown(part)),
        part => known(part),
    })
}

/// Checks an expression over what was aggregated.
pub(crate) fn above(expression: &Expr) -> Result<(), Refusal> {
    every_part(expression, &known)
}

/// Checks that an expression is a column, not the pseudonym.
pub(crate) fn column(expression: &Expr) -> Result<(), Refusal> {
    match expression {
        Expr::Column(column) if column.name == PSEUDONYM => Err(Refusal::Pseudonym),
        Expr::Column(_) => Ok(()),
        other => Err(Refusal::NotLinear(other.to_string())),
    }
}

/// Checks that an expression is a sum of columns and of multiples of them.
pub(crate) fn linear(expression: &Expr) -> Result<(), Refusal> {
    let refused = || Refusal::NotLinear(expression.to_string());
    match expression {
        Expr::Alias(alias) => linear(&alias.expr),
        Expr::Negative(negated) => linear(negated),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (&**left, op, &**right) {
            (Expr::Literal(..), Operator::Multiply | Operator::Plus | Operator::Minus, other)
            | (other, Operator::Multiply | Operator::Plus | Operator::Minus, Expr::Literal(..)) => {
                linear(other)
            }
            (left, Operator::Plus | Operator::Minus, right) => {
                linear(left).and_then(|()| linear(right))
            }
            _ => Err(refused()),
        },
        other => column(other).map_err(|refusal| match refusal {
            Refusal::Pseudonym => refusal,
            _ => refused(),
        }),
    }
}

fn every_part(
    expression: &Expr,
    check: &dyn Fn(&Expr) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut refusal = None;
    let walked = expression.apply(|part| match check(part) {
        Ok(()) => Ok(TreeNodeRecursion::Continue),
        Err(refused) => {
            refusal = Some(refused);
            Ok::<_, DataFusionError>(TreeNodeRecursion::Stop)
        }
    });
    match (refusal, walked) {
        (Some(refusal), _) => Err(refusal),
        (None, Ok(_)) => Ok(()),
        (None, Err(_)) => Err(unknown(expression)),
    }
}

fn known(part: &Expr) -> Result<(), Refusal> {
    match part {
        Expr::Alias(_)
        | Expr::Column(_)
        | Expr::Literal(..)
        | Expr::Like(_)
        | Expr::Not(_)
        | Expr::IsNotNull(_)
        | Expr::IsNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Negative(_)
        | Expr::Between(_)
        | Expr::Case(_)
        | Expr::Cast(_)
        | Expr::TryCast(_)
        | Expr::InList(_) => Ok(()),
        Expr::BinaryExpr(BinaryExpr { op, .. }) if is_known(*op) => Ok(()),
        Expr::ScalarFunction(ScalarFunction { func, .. }) if FUNCTIONS.contains(&func.name()) => {
            Ok(())
        }
        other => Err(unknown(other)),
    }
}

fn is_known(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::Plus
            | Operator::Minus
            | Operator::Multiply
            | Operator::Divide
            | Operator::Modulo
            | Operator::And
            | Operator::Or
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

/// Whether a divisor is a number that is written there, and not zero.
fn is_nonzero(divisor: &Expr) -> bool {
    match divisor {
        Expr::Literal(ScalarValue::Int64(Some(number)), _) => *number != 0,
        Expr::Literal(ScalarValue::Float64(Some(number)), _) => *number != 0.0,
        _ => false,
    }
}

fn unknown(part: &Expr) -> Refusal {
    Refusal::Unknown(part.to_string())
}

//! Which expressions may stand where in a question.
//!
//! Invariants: none holds the pseudonym or a question of its own; none can fail because of one row's
//! value, for a failure would tell that there is such a row; what is summed up is made of columns by
//! adding and subtracting, so that no condition can hide one patient's value in a sum over many.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable as _, Operator};

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
        "`{0}` cannot be aggregated: aggregate columns, and sums and differences of columns; conditions \
         belong into WHERE or GROUP BY, and other numbers outside of the aggregate"
    )]
    NotLinear(String),
}

/// Functions that never fail, whatever the row. `round` does with a second argument.
const FUNCTIONS: [&str; 17] = [
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
    "upper",
];

/// Checks an expression over rows: of a condition, of a group. `schema` is that of the rows.
pub(crate) fn below(expression: &Expr, schema: &DFSchema) -> Result<(), Refusal> {
    every_part(expression, &|part| match part {
        Expr::Column(column) if column.name == PSEUDONYM => Err(Refusal::Pseudonym),
        part if can_fail(part, schema) => Err(unknown(part)),
        part => known(part),
    })
}

/// Checks an expression over groups that are shown.
pub(crate) fn above(expression: &Expr) -> Result<(), Refusal> {
    every_part(expression, &known)
}

/// Whether a value of a row can make this fail.
fn can_fail(part: &Expr, schema: &DFSchema) -> bool {
    let kind = |side: &Expr| side.get_type(schema).ok();
    let is_plain = |side: &Expr| kind(side).is_some_and(|kind| is_number(&kind));
    let is_day = |side: &Expr| kind(side) == Some(DataType::Date32);
    match part {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::Divide | Operator::Modulo => {
                !is_safe_divisor(right) || !is_plain(left) || !is_plain(right)
            }
            // Integers wrap; instants, decimals and intervals overflow. Days may be subtracted.
            Operator::Minus if is_day(left) && is_day(right) => false,
            Operator::Plus | Operator::Minus | Operator::Multiply => {
                !is_plain(left) || !is_plain(right)
            }
            _ => false,
        },
        Expr::Cast(cast) => {
            let is_safe = |from| is_safe_cast(&from, cast.field.data_type());
            !matches!(*cast.expr, Expr::Literal(..)) && !kind(&cast.expr).is_some_and(is_safe)
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) => match func.name() {
            "round" => args.len() > 1,
            "date_part" | "date_trunc" => !matches!(args.first(), Some(Expr::Literal(..))),
            _ => false,
        },
        _ => false,
    }
}

fn is_number(kind: &DataType) -> bool {
    matches!(kind, DataType::Int32 | DataType::Int64 | DataType::Float64)
}

/// Whether every value can be converted, such as when the engine makes types equal.
fn is_safe_cast(from: &DataType, to: &DataType) -> bool {
    let is_text =
        |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match (from, to) {
        // Days reach further than the finest unit.
        (DataType::Date32, DataType::Timestamp(unit, _)) => *unit != TimeUnit::Nanosecond,
        // No table has an instant that does not fit the finest unit.
        (DataType::Int32 | DataType::Int64, DataType::Int64 | DataType::Float64)
        | (DataType::Timestamp(..), DataType::Timestamp(..))
        | (DataType::Null, _) => true,
        (from, to) => from == to || is_text(from) && is_text(to),
    }
}

/// Checks that an expression is a column, not the pseudonym.
pub(crate) fn column(expression: &Expr) -> Result<(), Refusal> {
    match expression {
        Expr::Column(column) if column.name == PSEUDONYM => Err(Refusal::Pseudonym),
        Expr::Column(_) => Ok(()),
        other => Err(Refusal::NotLinear(other.to_string())),
    }
}

/// Checks that an expression is made of columns by adding and subtracting. A number that is written there
/// could be so large that what is added to it is rounded off, or not, which is a condition.
pub(crate) fn linear(expression: &Expr) -> Result<(), Refusal> {
    match expression {
        Expr::Alias(alias) => linear(&alias.expr),
        Expr::Negative(negated) => linear(negated),
        Expr::Cast(cast) if is_number(cast.field.data_type()) => linear(&cast.expr),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus | Operator::Minus, right }) => {
            linear(left).and_then(|()| linear(right))
        }
        other => column(other),
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

/// Whether a divisor is a number that is written there and by which every number can be divided: not
/// zero, and not -1, whose quotient of the least integer is none.
fn is_safe_divisor(divisor: &Expr) -> bool {
    match divisor {
        Expr::Literal(ScalarValue::Int64(Some(number)), _) => *number > 0,
        Expr::Literal(ScalarValue::Float64(Some(number)), _) => *number != 0.0,
        _ => false,
    }
}

fn unknown(part: &Expr) -> Refusal {
    Refusal::Unknown(part.to_string())
}

//! Which questions may be asked, and how small groups are held back. Pure: plans in, plans out.
//!
//! A question has the form of a funnel. Below, rows: tables, joined by their patient, and filtered. Then
//! one aggregate. Above it only what was aggregated: more arithmetic, an order, a limit. The aggregate is
//! given hidden counts of patients, of each group and of those behind each of its numbers; a group with
//! fewer than `k` in any of them is dropped before anything above sees it. Plans come with their types
//! made equal, so that every conversion stands in them.
//!
//! Invariants: what is not named here is refused; no answer holds a pseudonym; no group in an answer and
//! no number in it comes from fewer than `k` patients. What this does not protect from stands in
//! `docs/adr/0018`.

use crate::row_check::{self, PSEUDONYM};
use datafusion::common::{Column, DataFusionError, JoinType};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::{count, count_distinct};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator,
    TableScan, lit, when,
};
use std::sync::Arc;

/// A question that may not be asked so.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It does not end in groups.
    #[error(
        "{0} cannot be answered: ask for an aggregate over groups of patients, such as `SELECT \
         product, count(*) FROM medication GROUP BY product`"
    )]
    NotGroups(&'static str),
    /// Something below the aggregate.
    #[error(
        "{0} may not stand below an aggregate: there are tables, joins of them `ON a.patient = \
         b.patient`, and conditions"
    )]
    Below(&'static str),
    /// An expression.
    #[error(transparent)]
    Expression(#[from] row_check::Refusal),
    /// An aggregate function.
    #[error(
        "`{0}` is no aggregate that may be asked for; there are count, sum, avg, stddev, var, corr and \
         covar, of columns and of sums and differences of columns, without FILTER and ORDER BY"
    )]
    Function(String),
    /// The plan cannot be changed as it must be.
    #[error("the question cannot be understood")]
    Plan(#[from] DataFusionError),
}

/// A question as it may be answered, in two steps: what stands above the aggregate is asked of the groups
/// that are shown and of nothing else, so that it cannot fail, or not, because of one that is not.
#[derive(Debug)]
pub struct Guarded {
    /// Yields the groups that are large enough.
    pub groups: LogicalPlan,
    /// Yields one number: how many groups are too small.
    pub suppressed: LogicalPlan,
    /// What stands above the aggregate, the outermost first.
    above: Vec<LogicalPlan>,
}

impl Guarded {
    /// Yields the answer, when a plan yields the groups.
    pub fn answer(self, groups: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
        let put = |input, plan: LogicalPlan| plan.with_new_exprs(plan.expressions(), vec![input]);
        self.above.into_iter().rev().try_fold(groups, put)
    }
}

/// Changes a question, whose types agree, so that no group of fewer than `k` patients is seen.
pub fn guard(plan: LogicalPlan, k: u32) -> Result<Guarded, Refusal> {
    let refused = |what| Err(Refusal::NotGroups(what));
    let (mut plan, mut above) = (plan, Vec::new());
    loop {
        let next = match &plan {
            LogicalPlan::Aggregate(aggregate) => {
                let (groups, suppressed) = groups(aggregate, k)?;
                return Ok(Guarded { groups, suppressed, above });
            }
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::SubqueryAlias(_) => {
                plan.expressions().iter().try_for_each(row_check::above)?;
                plan.inputs().into_iter().next().ok_or(Refusal::NotGroups("this"))?.clone()
            }
            LogicalPlan::TableScan(_) | LogicalPlan::Join(_) => return refused("a list of rows"),
            LogicalPlan::Distinct(_) => return refused("DISTINCT"),
            LogicalPlan::Window(_) => return refused("a window function"),
            LogicalPlan::Union(_) => return refused("a union"),
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => return refused("EXPLAIN"),
            LogicalPlan::Dml(_) | LogicalPlan::Ddl(_) | LogicalPlan::Copy(_) => {
                return refused("a statement that changes something");
            }
            LogicalPlan::Statement(_) | LogicalPlan::DescribeTable(_) => {
                return refused("this statement");
            }
            _ => return refused("a question of this form"),
        };
        above.push(plan);
        plan = next;
    }
}

/// The groups that are large enough, and how many are not.
fn groups(aggregate: &Aggregate, k: u32) -> Result<(LogicalPlan, LogicalPlan), Refusal> {
    let patient = patient(&below(&aggregate.input)?);
    let schema = aggregate.input.schema();
    aggregate.group_expr.iter().try_for_each(|group| row_check::below(group, schema))?;
    let mut hidden = vec![count_distinct(patient.clone())];
    for expression in &aggregate.aggr_expr {
        hidden.extend(patients_behind(expression, &patient)?);
    }
    let is_hidden = |number| format!("patients behind {number}");
    let hidden: Vec<_> = (0..).zip(hidden).map(|(n, count)| count.alias(is_hidden(n))).collect();
    let enough = (0..hidden.len())
        .map(|number| Expr::Column(Column::from_name(is_hidden(number))).gt_eq(lit(i64::from(k))))
        .reduce(Expr::and)
        .expect("there is a count of the patients of each group");
    let aggregates = aggregate.aggr_expr.iter().cloned().chain(hidden).collect();
    let input = Arc::clone(&aggregate.input);
    let all = Aggregate::try_new(input, aggregate.group_expr.clone(), aggregates)?;
    let all = Arc::new(LogicalPlan::Aggregate(all));
    let shown = LogicalPlan::Filter(Filter::try_new(enough.clone(), Arc::clone(&all))?);
    let asked = aggregate.schema.columns().into_iter().map(Expr::Column);
    let shown = LogicalPlanBuilder::from(shown).project(asked)?.build()?;
    let none: [Expr; 0] = [];
    let held_back = LogicalPlanBuilder::from(all)
        .filter(enough.is_not_true())?
        .aggregate(none, [count(lit(1))])?
        .build()?;
    Ok((shown, held_back))
}

/// Checks what stands below the aggregate, and yields the column of pseudonyms of each table.
fn below(plan: &LogicalPlan) -> Result<Vec<Column>, Refusal> {
    match plan {
        LogicalPlan::TableScan(scan) => Ok(vec![pseudonym(scan)]),
        LogicalPlan::SubqueryAlias(alias) => match &*alias.input {
            LogicalPlan::TableScan(_) => {
                Ok(vec![Column::new(Some(alias.alias.clone()), PSEUDONYM)])
            }
            _ => Err(Refusal::Below("a query in a query")),
        },
        LogicalPlan::Filter(filter) => {
            row_check::below(&filter.predicate, filter.input.schema())?;
            below(&filter.input)
        }
        LogicalPlan::Join(join) => joined(join),
        LogicalPlan::Aggregate(_) => Err(Refusal::Below("another aggregate")),
        LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => Err(Refusal::Below("an order or a limit")),
        LogicalPlan::Window(_) => Err(Refusal::Below("a window function")),
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => {
            Err(Refusal::Below("something else than a table"))
        }
        _ => Err(Refusal::Below("what this question has there")),
    }
}

fn pseudonym(scan: &TableScan) -> Column {
    Column::new(Some(scan.table_name.clone()), PSEUDONYM)
}

/// Rows of one patient are joined with rows of the same patient only, so that a row is one patient's.
fn joined(join: &Join) -> Result<Vec<Column>, Refusal> {
    if !matches!(
        join.join_type,
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full
    ) {
        return Err(Refusal::Below("a join of this kind"));
    }
    let (left, right) = (below(&join.left)?, below(&join.right)?);
    let is = |columns: &[Column], side: &Expr| matches!(side, Expr::Column(column) if columns.contains(column));
    let same = |one: &Expr, other: &Expr| {
        (is(&left, one) && is(&right, other)) || (is(&right, one) && is(&left, other))
    };
    // Of both sides: a join of some kinds has fewer columns.
    let schema = join.left.schema().join(join.right.schema())?;
    let mut by_patient = false;
    // In an outer join a row is there whether a condition holds or not, and the number of rows would tell.
    let is_inner = join.join_type == JoinType::Inner;
    let outer = || Err(Refusal::Below("another condition in the ON of an outer join"));
    for (one, other) in &join.on {
        if same(one, other) {
            by_patient = true;
        } else if !is_inner {
            return outer();
        } else {
            row_check::below(one, &schema)?;
            row_check::below(other, &schema)?;
        }
    }
    for condition in join.filter.iter().flat_map(split_conjunction) {
        match condition {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if same(left, right) => {
                by_patient = true;
            }
            _ if !is_inner => return outer(),
            condition => row_check::below(condition, &schema)?,
        }
    }
    if !by_patient {
        return Err(Refusal::Below("a join that is not `ON a.patient = b.patient`"));
    }
    Ok(left.into_iter().chain(right).collect())
}

/// Whose a row is. All tables of a row agree, those that have no row are null.
fn patient(columns: &[Column]) -> Expr {
    match columns {
        [column] => Expr::Column(column.clone()),
        columns => coalesce(columns.iter().cloned().map(Expr::Column).collect()),
    }
}

/// Counts the patients whose values an aggregate is made of; none when it only counts rows.
fn patients_behind(expression: &Expr, patient: &Expr) -> Result<Option<Expr>, Refusal> {
    let aggregate = match expression {
        Expr::Alias(alias) => return patients_behind(&alias.expr, patient),
        Expr::AggregateFunction(aggregate) => aggregate,
        other => return Err(Refusal::Function(other.to_string())),
    };
    let refused = || Refusal::Function(expression.to_string());
    let parameters = &aggregate.params;
    let plain = parameters.filter.is_none()
        && parameters.order_by.is_empty()
        && parameters.null_treatment.is_none();
    if !plain {
        return Err(refused());
    }
    let arguments = parameters.args.as_slice();
    match (aggregate.func.name(), parameters.distinct, arguments) {
        ("count", false, [Expr::Literal(..)]) => Ok(None),
        ("count", distinct, [argument]) => {
            // The patients of an outer join may be few.
            if !(distinct && is_patient(argument)) {
                row_check::column(argument)?;
            }
            Ok(Some(with_values(aggregate, patient)?))
        }
        (
            "sum" | "avg" | "stddev" | "stddev_pop" | "var" | "var_pop" | "corr" | "covar_samp"
            | "covar_pop",
            false,
            [_] | [_, _],
        ) => {
            arguments.iter().try_for_each(row_check::linear)?;
            Ok(Some(with_values(aggregate, patient)?))
        }
        _ => Err(refused()),
    }
}

fn is_patient(expression: &Expr) -> bool {
    matches!(expression, Expr::Column(column) if column.name == PSEUDONYM)
}

/// Counts the patients for whom every argument is there.
fn with_values(aggregate: &AggregateFunction, patient: &Expr) -> Result<Expr, Refusal> {
    let arguments = aggregate.params.args.iter().cloned();
    let all = arguments.map(Expr::is_not_null).reduce(Expr::and);
    let all = all.ok_or_else(|| Refusal::Function(aggregate.func.name().to_owned()))?;
    Ok(count_distinct(when(all, patient.clone()).end()?))
}

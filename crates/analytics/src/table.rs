//! De-identified rows as columns of Arrow, in types that every engine reads.

use aegle_lake::catalogue::PSEUDONYM;
use aegle_lake::{DeidentifiedTable, Kind, Value};
use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, RecordBatch,
    StringBuilder, TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;
use jiff::civil::date;
use std::sync::Arc;

/// The columns of a table: the pseudonym, then what the catalogue lets appear. Only signed numbers,
/// text, truth values, days and instants in UTC: Spark takes no others.
pub(crate) fn schema(table: &DeidentifiedTable) -> SchemaRef {
    let columns = table.columns.iter();
    let columns = columns.map(|column| Field::new(&column.name, data_type(column.kind), true));
    let pseudonym = Field::new(PSEUDONYM, DataType::Utf8, false);
    Arc::new(Schema::new(std::iter::once(pseudonym).chain(columns).collect::<Vec<_>>()))
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Integer => DataType::Int64,
        Kind::Decimal => DataType::Float64,
        Kind::Date => DataType::Date32,
        Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Text | Kind::Bytes => DataType::Utf8,
        Kind::Boolean => DataType::Boolean,
    }
}

/// Rows of one table that are not written yet.
pub(crate) struct Rows {
    schema: SchemaRef,
    patients: StringBuilder,
    columns: Vec<Column>,
    count: usize,
}

enum Column {
    Integer(Int64Builder),
    Decimal(Float64Builder),
    Date(Date32Builder),
    Time(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Boolean(BooleanBuilder),
}

impl Rows {
    pub(crate) fn new(table: &DeidentifiedTable) -> Self {
        let columns = table.columns.iter().map(|column| Column::new(column.kind)).collect();
        Self { schema: schema(table), patients: StringBuilder::new(), columns, count: 0 }
    }

    pub(crate) fn push(&mut self, patient: &str, values: &[Value]) {
        self.patients.append_value(patient);
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.push(value);
        }
        self.count += 1;
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Takes all rows.
    pub(crate) fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        self.count = 0;
        let patients: ArrayRef = Arc::new(self.patients.finish());
        let columns = self.columns.iter_mut().map(Column::finish);
        let arrays = std::iter::once(patients).chain(columns).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), arrays)
    }
}

impl Column {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Integer => Self::Integer(Int64Builder::new()),
            Kind::Decimal => Self::Decimal(Float64Builder::new()),
            Kind::Date => Self::Date(Date32Builder::new()),
            Kind::Time => Self::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Kind::Text | Kind::Bytes => Self::Text(StringBuilder::new()),
            Kind::Boolean => Self::Boolean(BooleanBuilder::new()),
        }
    }

    /// What is not of the column's type is not there.
    fn push(&mut self, value: &Value) {
        match (self, value) {
            (Self::Integer(column), Value::Integer(number)) => column.append_value(*number),
            (Self::Integer(column), _) => column.append_null(),
            (Self::Decimal(column), Value::Decimal(number)) => {
                column.append_option(number.to_string().parse().ok());
            }
            (Self::Decimal(column), _) => column.append_null(),
            (Self::Date(column), Value::Date(day)) => {
                column.append_value((*day - date(1970, 1, 1)).get_days());
            }
            (Self::Date(column), _) => column.append_null(),
            (Self::Time(column), Value::Time(time)) => {
                // Engines compare instants in nanoseconds, and one that does not fit would fail.
                let instant = time.instant().as_microsecond();
                column.append_option(instant.checked_mul(1_000).map(|_| instant));
            }
            (Self::Time(column), _) => column.append_null(),
            (Self::Text(column), Value::Text(text)) => column.append_value(text),
            (Self::Text(column), _) => column.append_null(),
            (Self::Boolean(column), Value::Boolean(truth)) => column.append_value(*truth),
            (Self::Boolean(column), _) => column.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Integer(column) => Arc::new(column.finish()),
            Self::Decimal(column) => Arc::new(column.finish()),
            Self::Date(column) => Arc::new(column.finish()),
            Self::Time(column) => Arc::new(column.finish()),
            Self::Text(column) => Arc::new(column.finish()),
            Self::Boolean(column) => Arc::new(column.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegle_lake::DeidentifiedColumn;
    use datafusion::arrow::util::pretty::pretty_format_batches;

    #[test]
    fn every_type_has_a_column() {
        let kinds = [
            ("n", Kind::Integer, "-7"),
            ("x", Kind::Decimal, "1.50"),
            ("d", Kind::Date, "1969-12-31"),
            ("t", Kind::Time, "1970-01-01T00:00:01+01:00"),
            ("c", Kind::Text, "I10"),
            ("b", Kind::Boolean, "true"),
        ];
        let column = |(name, kind, _): &(&str, Kind, &str)| DeidentifiedColumn {
            name: (*name).to_owned(),
            kind: *kind,
        };
        let columns = kinds.iter().map(column).collect();
        let mut rows = Rows::new(&DeidentifiedTable { name: "t".to_owned(), columns });
        let values: Vec<_> =
            kinds.iter().map(|(_, kind, field)| kind.parse(field).unwrap()).collect();
        rows.push("aa", &values);
        let mut far = vec![Value::Null; values.len()];
        far[3] = Kind::Time.parse("2300-01-01T00:00:00Z").unwrap();
        rows.push("bb", &far);
        assert_eq!(rows.count(), 2);
        let shown = pretty_format_batches(&[rows.take().unwrap()]).unwrap().to_string();
        let lines: Vec<_> = shown.lines().collect();
        let cells = |line: &str| line.split_whitespace().filter(|cell| *cell != "|").count();
        assert!(lines[3].contains("aa") && lines[3].contains("-7") && lines[3].contains("1.5"));
        assert!(lines[3].contains("1969-12-31") && lines[3].contains("1969-12-31T23:00:01Z"));
        assert!(lines[3].contains("I10") && lines[3].contains("true"));
        assert_eq!(cells(lines[4]), 1, "{shown}");
        assert_eq!(rows.count(), 0);
    }
}

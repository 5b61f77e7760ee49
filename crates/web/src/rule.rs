//! A rule as it is written in JSON, in the words of `aegle decide`.

use crate::border;
use crate::problem::{Answer, Problem};
use aegle_access as access;
use aegle_centre::{Names, RuleDraft};
use aegle_ledger::OpenedRule;
use aegle_model::{self as model, Name, Window};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a rule does to the cells that it covers.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effect {
    /// Opens, unless a deny closes.
    Allow,
    /// Closes, whatever else opens.
    Deny,
}

/// Why a record is asked for.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Purpose {
    /// Care of the patient.
    Treatment,
    /// Life or health is in danger: the glass is broken.
    Emergency,
    /// Research.
    Research,
    /// Running the centre.
    Administration,
}

/// To whom a rule speaks. Centres are named by their codes.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Grantee {
    /// One staff member.
    Professional {
        /// The employing centre.
        centre: String,
        /// The staff number there.
        #[schema(value_type = String)]
        id: Name,
    },
    /// Everybody in a department.
    Department {
        /// The department's centre.
        centre: String,
        /// The department's number there.
        #[schema(value_type = String)]
        id: Name,
    },
    /// Everybody on the staff of a centre.
    Organisation {
        /// The centre.
        centre: String,
    },
}

/// A tag of one centre.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScopedTag {
    /// The centre's code.
    centre: String,
    /// The tag.
    #[schema(value_type = String)]
    tag: Name,
}

/// A rule.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// Allow or deny.
    effect: Effect,
    /// To whom.
    grantee: Grantee,
    /// What: at least one tag.
    scope: Vec<ScopedTag>,
    /// The first instant at which the rule is in force; absent: from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    from: Option<String>,
    /// The first instant at which the rule is no longer in force; absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    until: Option<String>,
    /// What for; absent or empty: for every purpose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    purposes: Vec<Purpose>,
}

impl Rule {
    /// The rule with checked values.
    pub(crate) fn checked(self, names: &Names) -> Answer<RuleDraft> {
        let scoped = |(place, ScopedTag { centre, tag }): (usize, ScopedTag)| {
            Ok((border::centre(names, &centre, &format!("scope[{place}].centre"))?, tag))
        };
        let end = |text: Option<String>, field| {
            text.map(|text| border::instant(&text, field)).transpose()
        };
        let (from, until) = (end(self.from, "from")?, end(self.until, "until")?);
        Ok(RuleDraft {
            effect: self.effect.into(),
            grantee: self.grantee.checked(names)?,
            scope: self.scope.into_iter().enumerate().map(scoped).collect::<Answer<_>>()?,
            window: Window::new(from, until).map_err(|error| Problem::malformed("until", error))?,
            purposes: self.purposes.into_iter().map(access::Purpose::from).collect(),
        })
    }

    /// A rule as its patient wrote it.
    pub(crate) fn shown(rule: &OpenedRule, names: &Names) -> Self {
        let scope = rule
            .scope
            .iter()
            .map(|scoped| ScopedTag { centre: names.code(scoped.centre), tag: scoped.tag.clone() });
        Self {
            effect: rule.effect.into(),
            grantee: Grantee::shown(&rule.grantee, names),
            scope: scope.collect(),
            from: rule.window.from().map(border::time),
            until: rule.window.until().map(border::time),
            purposes: rule.purposes.named().map(Purpose::from).collect(),
        }
    }
}

impl Grantee {
    fn checked(self, names: &Names) -> Answer<model::Grantee> {
        let member = |code: &str| border::centre(names, code, "grantee.centre");
        Ok(match self {
            Self::Professional { centre, id } => {
                model::Grantee::Professional { centre: member(&centre)?, id }
            }
            Self::Department { centre, id } => {
                model::Grantee::Department { centre: member(&centre)?, id }
            }
            Self::Organisation { centre } => {
                model::Grantee::Organisation { centre: member(&centre)? }
            }
        })
    }

    fn shown(grantee: &model::Grantee, names: &Names) -> Self {
        match grantee {
            model::Grantee::Professional { centre, id } => {
                Self::Professional { centre: names.code(*centre), id: id.clone() }
            }
            model::Grantee::Department { centre, id } => {
                Self::Department { centre: names.code(*centre), id: id.clone() }
            }
            model::Grantee::Organisation { centre } => {
                Self::Organisation { centre: names.code(*centre) }
            }
        }
    }
}

impl From<Effect> for access::Effect {
    fn from(effect: Effect) -> Self {
        match effect {
            Effect::Allow => Self::Allow,
            Effect::Deny => Self::Deny,
        }
    }
}

impl From<access::Effect> for Effect {
    fn from(effect: access::Effect) -> Self {
        match effect {
            access::Effect::Allow => Self::Allow,
            access::Effect::Deny => Self::Deny,
        }
    }
}

impl From<Purpose> for access::Purpose {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Treatment => Self::Treatment,
            Purpose::Emergency => Self::Emergency,
            Purpose::Research => Self::Research,
            Purpose::Administration => Self::Administration,
        }
    }
}

impl From<access::Purpose> for Purpose {
    fn from(purpose: access::Purpose) -> Self {
        match purpose {
            access::Purpose::Treatment => Self::Treatment,
            access::Purpose::Emergency => Self::Emergency,
            access::Purpose::Research => Self::Research,
            access::Purpose::Administration => Self::Administration,
        }
    }
}

//! What stands of the triggers in a database, and what puts them right.

use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use super::{Trigger, channel, functions, literal};
use crate::state::store::sql::Prefix;

/// What stands of the triggers; they are named without the prefix.
#[derive(Debug, Default)]
pub(in super::super) struct Found {
    /// Tells what stands apart from anything that was there before or comes after, the same text made
    /// again included.
    pub(in super::super) mark: String,
    /// Whether it is all as it should be.
    pub(in super::super) is_whole: bool,
    /// Where it tells.
    pub(in super::super) channel: String,
    has_functions: bool,
    /// Not there.
    missing: Vec<String>,
    /// There, but another one under its name.
    wrong: Vec<String>,
    /// The right one, which does not fire everywhere.
    off: Vec<String>,
}

impl Found {
    /// Asks [`standing`], or what has its columns among others. By one message, so that it needs no
    /// transaction behind a pooler.
    pub(in super::super) async fn read(
        connection: &mut PgConnection,
        sql: String,
    ) -> Result<Self, sqlx::Error> {
        // All that is answered is taken in, as more may come behind the row.
        let rows = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let column = |name| row.try_get_unchecked::<String, _>(name);
        let names = |name| column(name).map(|names| names.split(',').map(str::to_owned).collect());
        Ok(Self {
            mark: column("mark")?,
            is_whole: column("is_whole")? == "true",
            channel: column("channel")?,
            has_functions: column("has_functions")? == "true",
            missing: names("missing")?,
            wrong: names("wrong")?,
            off: names("off")?,
        })
    }
}

/// Asks for one row, of which [`Found`] reads what it says. It asks the catalogs alone, and so waits for
/// nobody who has locked a table.
pub(in super::super) fn standing(prefix: &Prefix, schema: &str) -> String {
    let triggers: Vec<String> = Trigger::all().map(|trigger| trigger.wanted()).collect();
    let functions = functions();
    let bodies = ["note_change", "tell_changes"].map(|name| {
        let body = body_of(&functions, name);
        format!("('{name}', $body${body}$body$)")
    });
    let list = |what: &str| {
        format!("coalesce(string_agg(name, ',') FILTER (WHERE state = '{what}'), '') AS {what}")
    };
    let text = format!(
        "SELECT coalesce(string_agg(mark, ',' ORDER BY name), '') AS mark, \
         bool_and(state = 'whole' AND has_function)::text AS is_whole, \
         {channel} AS channel, bool_and(has_function)::text AS has_functions, {missing}, {wrong}, {off} \
         FROM (SELECT w.name, concat_ws(':', t.oid, t.xmin, t.tgenabled, p.oid, p.xmin) AS mark, \
         replace(p.prosrc, chr(13), '') IS NOT DISTINCT FROM f.body \
         AND p.proconfig IS NOT DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp'] \
         AS has_function, \
         CASE WHEN t.oid IS NULL THEN 'missing' \
         WHEN t.tgtype <> w.bits OR t.tgargs <> w.args OR t.tginitdeferred <> w.is_deferred \
         OR t.tgfoid IS DISTINCT FROM p.oid \
         OR t.tgattr::text <> '' OR (t.tgqual IS NULL) <> (cardinality(w.columns) = 0) \
         OR w.columns <> ARRAY(SELECT DISTINCT a.attname::text COLLATE \"C\" \
         FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_attribute AS a \
         ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
         WHERE d.classid = 'pg_catalog.pg_trigger'::regclass AND d.objid = t.oid \
         AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0 \
         ORDER BY 1) THEN 'wrong' \
         WHEN t.tgenabled <> 'A' THEN 'off' ELSE 'whole' END AS state \
         FROM (VALUES {triggers}) \
         AS w (name, relation, bits, is_deferred, args, columns, function) \
         JOIN (VALUES {bodies}) AS f (name, body) ON f.name = w.function \
         LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = {{schema}} \
         LEFT JOIN pg_catalog.pg_class AS c \
         ON c.relnamespace = n.oid AND c.relname = '{{n}}' || w.relation \
         LEFT JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = c.oid AND t.tgname = '{{n}}' || w.name \
         LEFT JOIN pg_catalog.pg_proc AS p \
         ON p.pronamespace = n.oid AND p.proname = '{{n}}' || w.function AND p.pronargs = 0) AS found",
        channel = channel("{schema}"),
        missing = list("missing"),
        wrong = list("wrong"),
        off = list("off"),
        triggers = triggers.join(", "),
        bodies = bodies.join(", "),
    );
    prefix.fill_with(&text, &[("schema", &literal(schema))])
}

/// Puts right what was found. To make a trigger, or to have it fire everywhere, keeps writers out and
/// no reader; only one that is another's is taken away first, which keeps everybody out.
pub(in super::super) fn mend(prefix: &Prefix, found: &Found) -> String {
    let mut text = String::new();
    if !found.has_functions {
        // Whoever writes by the old ones ends first: nobody else would see that they told nothing.
        text.push_str(
            "LOCK TABLE {p}keys, {p}owners, {p}memberships IN SHARE ROW EXCLUSIVE MODE;\n\n",
        );
        text.push_str(&functions());
    }
    for trigger in Trigger::all() {
        let is_among = |names: &[String]| names.contains(&trigger.plain_name());
        let is_wrong = is_among(&found.wrong);
        if is_wrong {
            let (name, table) = (trigger.name(), trigger.table.name);
            text.push_str(&format!("DROP TRIGGER {name} ON {{p}}{table};\n\n"));
        }
        if is_wrong || is_among(&found.missing) {
            text.push_str(&trigger.create());
        }
        if is_wrong || is_among(&found.missing) || is_among(&found.off) {
            text.push_str(&trigger.enable());
        }
    }
    prefix.fill(&text)
}

impl Trigger {
    fn plain_name(&self) -> String {
        self.name().replace("{n}", "")
    }

    /// As `pg_trigger` keeps it.
    fn wanted(&self) -> String {
        let event = match self.event {
            "INSERT" => 4,
            "DELETE" => 8,
            "UPDATE" => 16,
            _ => 32,
        };
        let bits = event + i32::from(self.is_of_rows());
        let arguments: String = self.arguments().iter().map(|text| format!("{text}\0")).collect();
        let arguments = base16ct::lower::encode_string(arguments.as_bytes());
        let mut columns: Vec<String> = self.compared().iter().map(|name| literal(name)).collect();
        columns.sort_unstable();
        format!(
            "('{}', '{}', {bits}, {}, decode('{arguments}', 'hex'), ARRAY[{}]::text[], '{}')",
            self.plain_name(),
            self.table.name,
            self.is_deferred(),
            columns.join(", "),
            self.function,
        )
    }
}

/// What a function has between its quotes.
fn body_of<'a>(functions: &'a str, name: &str) -> &'a str {
    let function = functions.split(&format!("{name}()")).nth(1);
    function.and_then(|text| text.split("$tell$").nth(1)).expect("both functions are there")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader must not have to wait for what can be put right without that.
    #[test]
    fn only_a_wrong_trigger_is_taken_away() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let found = |missing: &[&str], wrong: &[&str], off: &[&str]| Found {
            has_functions: true,
            missing: names(missing),
            wrong: names(wrong),
            off: names(off),
            ..Found::default()
        };
        let prefix = Prefix::default();
        let text = mend(&prefix, &found(&["note_keys_update"], &[], &["tell_owners_delete"]));
        assert!(
            !text.contains("DROP") && !text.contains("FUNCTION token_auth_note_change() RETURNS")
        );
        assert_eq!((text.matches("CREATE").count(), text.matches("ENABLE ALWAYS").count()), (1, 2));
        let text = mend(&prefix, &found(&[], &["tell_keys_delete"], &[]));
        assert!(text.starts_with("DROP TRIGGER token_auth_tell_keys_delete"));
        assert_eq!((text.matches("CREATE").count(), text.matches("ENABLE ALWAYS").count()), (1, 1));
    }
}

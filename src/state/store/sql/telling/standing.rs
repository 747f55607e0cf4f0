//! What stands of the triggers in a database, and what puts them right.

use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use super::{Telling, Trigger, literal};

/// Everybody who comes behind it waits for as long as it waits for a table; and where it and a writer wait
/// for each other, it gives up before PostgreSQL looks whom to end, a second later.
pub(in crate::state::store) const BEGIN_MENDING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
     SET LOCAL statement_timeout = 10000; SET LOCAL lock_timeout = 500; \
     SET LOCAL idle_in_transaction_session_timeout = 10000";

/// What stands of the triggers.
#[derive(Debug, Default)]
pub(in crate::state::store) struct Found {
    /// Tells what stands apart from anything that was there before or comes after, the same text made
    /// again included; and the columns that count from altered ones, and others under their names. To alter
    /// a type, or to put another column in one's place, changes what every row says, and fires no trigger.
    pub(in crate::state::store) mark: String,
    /// Whether it is all as it should be.
    pub(in crate::state::store) is_whole: bool,
    /// Where it tells.
    pub(in crate::state::store) channel: String,
    /// Why triggers would not tell of everything, however they stand; empty if they do.
    trouble: String,
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
    pub(in crate::state::store) async fn read(
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
            trouble: column("trouble")?,
            has_functions: column("has_functions")? == "true",
            missing: names("missing")?,
            wrong: names("wrong")?,
            off: names("off")?,
        })
    }

    /// Why nothing is to rest on the triggers, nor any to be made.
    pub(in crate::state::store) fn trouble(&self) -> Option<&'static str> {
        Some(match &*self.trouble {
            "" => return None,
            SILENCED => {
                "not everybody may call the functions by which triggers tell, so that writes to the tables \
                 fail, or would; GRANT EXECUTE ON FUNCTION pg_notify(text, text), \
                 set_config(text, text, boolean), current_setting(text, boolean), txid_current() TO PUBLIC, \
                 or remove the triggers"
            }
            UNFIT => {
                "a table is a view, foreign, partitioned or inherited from, so that triggers on it do not \
                 tell of every row; leave the triggers out"
            }
            _ => {
                "another table than the one with the triggers comes first on the search_path by now; open \
                 the store anew, and name the schema"
            }
        })
    }
}

const SILENCED: &str = "silenced";
const UNFIT: &str = "unfit";
/// What the triggers' functions call where a failure is the write's.
const CALLED: &str = "'pg_notify(text,text)', 'set_config(text,text,boolean)', \
     'current_setting(text,boolean)', 'txid_current()'";

/// Asks for one row, of which [`Found`] reads what it says. It asks the catalogs alone, and so waits for
/// nobody who has locked a table.
pub(in crate::state::store) fn standing(telling: &Telling) -> String {
    let triggers: Vec<String> = telling.triggers.iter().map(|it| it.wanted(telling)).collect();
    let body = |function: &super::Function| {
        format!("({}, $body${}$body$)", literal(&function.name), function.body)
    };
    let bodies: Vec<String> = telling.functions.iter().map(body).collect();
    let list = |what: &str| {
        format!("coalesce(string_agg(name, ',') FILTER (WHERE state = '{what}'), '') AS {what}")
    };
    format!(
        "SELECT concat_ws(',', string_agg(mark, ',' ORDER BY name), max(trouble)) AS mark, \
         max(trouble) AS trouble, \
         bool_and(state = 'whole' AND has_function)::text AS is_whole, \
         {channel} AS channel, bool_and(has_function)::text AS has_functions, {missing}, {wrong}, {off} \
         FROM (SELECT w.name, concat_ws(':', t.oid, t.xmin, t.tgenabled, p.oid, p.xmin, \
         (SELECT string_agg(concat_ws('/', a.attnum, a.atttypid, a.xmin), ';' ORDER BY a.attnum) \
         FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid \
         AND a.attname::text = ANY (w.counted))) AS mark, \
         replace(p.prosrc, chr(13), '') IS NOT DISTINCT FROM f.body \
         AND p.proconfig IS NOT DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp'] \
         AS has_function, \
         CASE WHEN (SELECT NOT bool_and(has_function_privilege('public', 'pg_catalog.' || one, 'EXECUTE')) \
         FROM unnest(ARRAY[{CALLED}]) AS one) THEN '{SILENCED}' \
         WHEN c.relkind <> 'r' OR EXISTS (SELECT 1 FROM pg_catalog.pg_inherits AS i \
         WHERE i.inhparent = c.oid) THEN '{UNFIT}' \
         WHEN w.called <> '' AND pg_catalog.to_regclass(nullif(w.called, ''))::oid IS DISTINCT FROM c.oid \
         THEN 'hidden' ELSE '' END AS trouble, \
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
         AS w (name, space, relation, bits, is_deferred, args, columns, counted, called, function) \
         JOIN (VALUES {bodies}) AS f (name, body) ON f.name = w.function \
         LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = {schema} \
         LEFT JOIN pg_catalog.pg_namespace AS s ON s.nspname = w.space \
         LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = s.oid AND c.relname = w.relation \
         LEFT JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = c.oid AND t.tgname = w.name \
         LEFT JOIN pg_catalog.pg_proc AS p \
         ON p.pronamespace = n.oid AND p.proname = w.function AND p.pronargs = 0) AS found",
        channel = telling.channel,
        schema = telling.schema,
        missing = list("missing"),
        wrong = list("wrong"),
        off = list("off"),
        triggers = triggers.join(", "),
        bodies = bodies.join(", "),
    )
}

/// Puts the triggers right and commits, in a transaction that was [begun](BEGIN_MENDING) and in which
/// nobody else does. After an error it is still open: the connection is to be closed.
pub(in crate::state::store) async fn put_right(
    connection: &mut PgConnection,
    telling: &Telling,
) -> Result<(), sqlx::Error> {
    let found = Found::read(connection, standing(telling)).await?;
    sqlx::raw_sql(AssertSqlSafe(mend(telling, &found))).execute(&mut *connection).await?;
    sqlx::raw_sql("COMMIT").execute(connection).await.map(drop)
}

/// Puts right what was found. To make a trigger, or to have it fire everywhere, keeps writers out and
/// no reader; only one that is another's is taken away first, which keeps everybody out.
fn mend(telling: &Telling, found: &Found) -> String {
    let mut text = String::new();
    if !found.has_functions {
        let mut tables: Vec<&str> = telling.triggers.iter().map(|it| &*it.table).collect();
        tables.dedup();
        // Whoever writes by the old ones ends first: nobody else would see that they told nothing.
        let tables = tables.join(", ");
        text.push_str(&format!("LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE;\n\n"));
        text.push_str(&telling.make_functions());
    }
    for trigger in &telling.triggers {
        let is_among = |names: &[String]| names.contains(&trigger.name);
        let is_wrong = is_among(&found.wrong);
        if is_wrong {
            let Trigger { name, table, .. } = trigger;
            text.push_str(&format!("DROP TRIGGER {name} ON {table};\n\n"));
        }
        if is_wrong || is_among(&found.missing) {
            text.push_str(&telling.create(trigger));
        }
        if is_wrong || is_among(&found.missing) || is_among(&found.off) {
            text.push_str(&trigger.enable());
        }
    }
    text
}

impl Trigger {
    /// As `pg_trigger` keeps it.
    fn wanted(&self, telling: &Telling) -> String {
        let event = match self.event {
            "INSERT" => 4,
            "DELETE" => 8,
            "UPDATE" => 16,
            _ => 32,
        };
        let bits = event + i32::from(self.is_of_rows());
        let arguments: String = self.arguments.iter().map(|text| format!("{text}\0")).collect();
        let arguments = base16ct::lower::encode_string(arguments.as_bytes());
        let mut columns: Vec<String> = self.compared.iter().map(|name| literal(name)).collect();
        columns.sort_unstable();
        let counted: Vec<String> = self.counted.iter().map(|name| literal(name)).collect();
        format!(
            "({}, {}, {}, {bits}, {}, decode('{arguments}', 'hex'), ARRAY[{}]::text[], \
             ARRAY[{}]::text[], {}, {})",
            literal(&self.name),
            self.schema,
            self.relation,
            self.is_deferred,
            columns.join(", "),
            counted.join(", "),
            literal(&self.called),
            literal(&telling.functions[self.function].name),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Function, *};

    fn telling() -> Telling {
        let trigger = |name: &str| Trigger {
            name: name.into(),
            schema: "'s'".into(),
            relation: "'t'".into(),
            table: "s.t".into(),
            event: "UPDATE",
            function: 0,
            is_deferred: false,
            arguments: Vec::new(),
            compared: &[],
            counted: Vec::new(),
            called: String::new(),
        };
        let function = Function { name: "f".into(), quoted: "s.f".into(), body: String::new() };
        Telling {
            schema: "'s'".into(),
            channel: "'c'".into(),
            alive: "a_".into(),
            functions: vec![function],
            triggers: ["one", "other", "third"].map(trigger).into(),
        }
    }

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
        let text = mend(&telling(), &found(&["one"], &[], &["other"]));
        assert!(!text.contains("DROP") && !text.contains("RETURNS trigger"), "{text}");
        assert_eq!((text.matches("CREATE").count(), text.matches("ENABLE ALWAYS").count()), (1, 2));
        let text = mend(&telling(), &found(&[], &["third"], &[]));
        assert!(text.starts_with("DROP TRIGGER third"));
        assert_eq!((text.matches("CREATE").count(), text.matches("ENABLE ALWAYS").count()), (1, 1));
    }

    /// One lock for all of a table's triggers, and the functions before the triggers that call them.
    #[test]
    fn functions_are_made_behind_the_writers() {
        let missing = ["one", "other", "third"].map(str::to_owned).into();
        let text = mend(&telling(), &Found { missing, ..Found::default() });
        assert!(text.starts_with("LOCK TABLE s.t IN SHARE ROW EXCLUSIVE MODE;"), "{text}");
        assert!(text.find("OR REPLACE FUNCTION s.f()") < text.find("TRIGGER one"), "{text}");
    }
}

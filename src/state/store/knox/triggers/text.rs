//! The text of the function that triggers on Django's tables call.

/// The function. The first argument says what is told: `k` and `o` a key or user by the id in the column that
/// the second names, `digest` and `token` the key of such a row, and anything else everything. The third is
/// where Smarter's keys are; the rest are what counts of a row. The setting holds what was told, behind the
/// number of the transaction with which it goes, so that nobody who set it before silences anything; what is
/// sent twice in one is delivered once.
pub(super) const TELL: &str = r#"
DECLARE
    channel text := '{channel}';
    setting text := 'token_auth.' || channel;
    ours text := txid_current()::text || ' ';
    kept text := coalesce(current_setting(setting, true), '');
    told jsonb := '[]';
    old_row jsonb;
    new_row jsonb;
    one jsonb;
    id text;
    payload text;
    payloads text[] := '{}';
BEGIN
    IF kept = ours || '["*"]' THEN
        RETURN NULL;
    END IF;
    BEGIN
        IF left(kept, length(ours)) = ours THEN
            told := substr(kept, length(ours) + 1);
        END IF;
        old_row := to_jsonb(OLD);
        new_row := to_jsonb(NEW);
        IF TG_OP = 'UPDATE' AND NOT EXISTS (
            SELECT 1 FROM unnest(TG_ARGV[3:]) AS counts (name)
            WHERE old_row -> name IS NULL OR old_row -> name IS DISTINCT FROM new_row -> name
        ) THEN
            RETURN NULL;
        END IF;
        IF TG_OP = 'TRUNCATE' THEN
            payloads := '{*}';
        END IF;
        FOREACH one IN ARRAY ARRAY[old_row, new_row] LOOP
            CONTINUE WHEN one IS NULL;
            id := one ->> TG_ARGV[1];
            payload := '*';
            IF TG_ARGV[0] = 'digest' AND id ~ '^[0-9a-f]{128}$' THEN
                payload := 'k' || (left(id, 12) || '8' || substr(id, 13, 3) || to_hex((B'10'
                    || ('x' || substr(id, 16, 16))::bit(64)::bit(62))::bit(64)::bigint))::uuid::text;
            ELSIF TG_ARGV[0] = 'token' THEN
                EXECUTE format('SELECT key_id::text FROM %s WHERE authtoken_ptr_id = $1', TG_ARGV[2])
                    INTO payload USING id;
                payload := coalesce('k' || payload, 'o' || (one ->> 'user_id'), '*');
            ELSIF TG_ARGV[0] IN ('k', 'o') THEN
                payload := coalesce(TG_ARGV[0] || id, '*');
            END IF;
            payloads := payloads || payload;
        END LOOP;
    EXCEPTION WHEN OTHERS THEN
        payloads := '{*}';
    END;
    FOREACH payload IN ARRAY payloads LOOP
        CONTINUE WHEN told @> to_jsonb(payload);
        told := told || to_jsonb(payload);
        IF payload = '*' OR octet_length(payload) > 128 OR jsonb_array_length(told) > 64 THEN
            PERFORM pg_notify(channel, '*');
            told := '["*"]';
            EXIT;
        END IF;
        PERFORM pg_notify(channel, payload);
    END LOOP;
    PERFORM set_config(setting, ours || told::text, true);
    RETURN NULL;
END "#;

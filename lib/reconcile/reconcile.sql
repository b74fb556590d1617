-- Every pair of account and row with its situation and cause, and the duplicates: one statement for any engine.
--
-- Relations: accounts, rows and seen as in the contract; invocations too, with email_key besides; terms, one row:
-- correlation, trigger_kind, versioned, accounts_complete, rows_complete, young_after, evidence_from (null: no log
-- evidence), logs_complete; and keys: expires_at, seen_at.
-- Only what DuckDB, Spark and Trino understand alike: no array functions but array_position, array_sort and
-- array_agg, `||` where null must stay null, no greatest or least, no null ordering left to the engine.
with
account_keys as (
    select
        a.username, a.sub, a.email, a.email_key, a.status, a.enabled, a.provider, a.created_at, a.modified_at,
        case t.correlation
            when 'sub' then nullif(a.sub, '')
            when 'email' then a.email_key
            else nullif(a.username, '')
        end as match_key
    from accounts a
    cross join terms t
),
-- An owner is written as sub::username or as the username alone; both forms mean the same account.
row_keys as (
    select
        r.id, r.email, r.email_key, r.created_at, r.version, r.notes, coalesce(r.deleted, false) as is_deleted,
        case t.correlation
            when 'email' then r.email_key
            when 'owner' then coalesce(o.username, nullif(r.owner, ''))
            else nullif(r.id, '')
        end as match_key,
        coalesce(array_position(r.notes, 'email_not_text'), 0) > 0
        or coalesce(array_position(r.notes, 'deleted_not_boolean'), 0) > 0
        or coalesce(array_position(r.notes, 'ttl_in_milliseconds'), 0) > 0
        or (t.correlation = 'owner' and coalesce(array_position(r.notes, 'owner_not_text'), 0) > 0)
        or (t.correlation in ('username', 'sub') and coalesce(array_position(r.notes, 'id_not_text'), 0) > 0)
            as is_marked
    from rows r
    cross join terms t
    left join accounts o on t.correlation = 'owner' and r.owner = o.sub || '::' || o.username
),
placed_accounts as (
    select
        a.*,
        row_number() over (
            partition by a.match_key
            order by case when a.created_at is null then 1 else 0 end, a.created_at, a.username
        ) as place
    from account_keys a
),
placed_rows as (
    select
        r.*,
        row_number() over (
            partition by r.match_key
            order by
                case when r.is_deleted then 1 else 0 end,
                case when r.created_at is null then 1 else 0 end,
                r.created_at,
                coalesce(r.id, '')
        ) as place
    from row_keys r
),
paired as (
    select
        case when a.place is not null then 'a' || a.username else 'r' || coalesce(r.id, '') end as subject,
        a.place is not null as has_account,
        r.place is not null as has_row,
        coalesce(a.match_key, r.match_key) as match_key,
        r.match_key as row_match_key,
        r.place as row_place,
        a.username as account_id, a.sub, a.email, a.email_key, a.status, a.enabled, a.provider,
        a.created_at as account_created_at, a.modified_at as account_modified_at,
        r.id as row_id, r.email as row_email, r.email_key as row_email_key, r.created_at as row_created_at,
        r.version, r.notes, coalesce(r.is_deleted, false) as is_deleted, coalesce(r.is_marked, false) as is_marked
    from placed_accounts a
    full join placed_rows r on a.match_key = r.match_key and a.place = r.place
),
judged as (
    select
        p.*,
        case
            when p.has_row and (
                p.is_marked
                or p.row_match_key is null
                or (p.has_account and p.email_key is not null and p.row_email_key is null and not p.is_deleted)
            ) then 'malformed_row'
            when p.has_account and p.is_deleted then 'tombstone'
            when p.is_deleted then null
            -- Nothing is missing from a side that was not read to its end.
            when not p.has_row and not t.rows_complete then null
            when not p.has_account and not t.accounts_complete then null
            when not p.has_row and (
                coalesce(p.account_created_at > t.young_after, false)
                or coalesce(p.account_modified_at > t.young_after, false)
            ) then 'in_flight'
            when not p.has_account and p.row_created_at > t.young_after then 'in_flight'
            when not p.has_row and t.trigger_kind = 'post_confirmation' and p.status = 'UNCONFIRMED' then 'out_of_scope'
            when not p.has_row then 'orphaned_account'
            when not p.has_account then 'orphaned_row'
            when t.versioned and p.version is null then 'unversioned_row'
            when p.email_key <> p.row_email_key then 'drift'
            else 'in_sync'
        end as situation
    from paired p
    cross join terms t
),
-- A further row of an account that already has one.
further as (
    select j.subject, a.username as holder, r.id as held_row
    from judged j
    join placed_accounts a on a.match_key = j.row_match_key and a.place = 1
    join placed_rows r on r.match_key = j.row_match_key and r.place = 1
    where not j.has_account and j.row_place > 1
),
-- Who holds which e-mail: a pair once; the e-mails of tombstones and malformed rows do not count.
holdings as (
    select j.subject, j.account_id as holder_id, j.email_key from judged j where j.email_key is not null
    union all
    select j.subject, coalesce(j.account_id, j.row_id, '') as holder_id, j.row_email_key as email_key
    from judged j
    where
        j.row_email_key is not null
        and not j.is_deleted
        and j.situation <> 'malformed_row'
        and (j.email_key is null or j.email_key <> j.row_email_key)
),
shared as (
    select h.email_key from holdings h group by h.email_key having count(*) > 1
),
holders as (
    select
        h.subject, h.holder_id, h.email_key,
        row_number() over (partition by h.email_key order by h.holder_id, h.subject) as place
    from holdings h
    join shared s on h.email_key = s.email_key
),
-- An e-mail can have thousands of holders, and each would list all others: 100 say enough, the duplicate has them all.
others as (
    select distinct h.subject, o.subject as other, o.holder_id
    from holders h
    join judged j on h.subject = j.subject
    join holders o on h.email_key = o.email_key and h.subject <> o.subject
    where o.place <= 100 and j.situation not in ('in_sync', 'in_flight', 'out_of_scope')
),
twins as (
    select o.subject, array_sort(array_agg(o.holder_id)) as twins from others o group by o.subject
),
duplicates as (
    select h.email_key, array_sort(array_agg(h.holder_id)) as twins from holders h group by h.email_key
),
-- From here on: causes, for the sides that stand alone. `name` is what the trigger was called with.
lone as (
    select
        j.subject, j.situation, j.has_account, j.match_key, j.account_id, j.sub, j.status, j.row_email_key,
        j.account_created_at, j.account_modified_at, j.row_created_at,
        case
            when j.has_account then j.account_id
            when t.correlation = 'email' then null
            when t.correlation = 'owner' and position('::' in j.match_key) > 0
                then substr(j.match_key, position('::' in j.match_key) + 2)
            else j.match_key
        end as name,
        t.correlation = 'email' and not j.has_account as is_found_by_email
    from judged j
    cross join terms t
    where j.situation in ('orphaned_account', 'orphaned_row') or (j.situation = 'in_flight' and j.has_account)
),
named as (
    select
        l.*,
        case
            when position('_' in l.name) > 0
                then lower(substr(l.name, 1, position('_' in l.name) - 1)) || substr(l.name, position('_' in l.name))
            else l.name
        end as folded
    from lone l
),
-- Federated users: the trigger may write the provider's prefix in another case than the pool.
sign_ups as (
    select
        i.username, i.email_key, i.trigger_source, i.request_id, i.started_at, i.ended_at, i.outcome, i.duration_ms,
        i.error_type, i.error_message, i.logged_error,
        case
            when position('_' in i.username) > 0
                then lower(substr(i.username, 1, position('_' in i.username) - 1))
                    || substr(i.username, position('_' in i.username))
            else i.username
        end as folded
    from invocations i
    cross join terms t
    where
        t.logs_complete
        and i.started_at is not null
        and i.username is not null
        and (substr(i.trigger_source, 1, 10) = 'PreSignUp_' or i.trigger_source = 'PostConfirmation_ConfirmSignUp')
),
calls as (
    select n.subject, n.has_account, n.account_created_at, n.row_created_at, s.*
    from named n
    join sign_ups s on n.folded = s.folded
    where s.username = n.name or n.status = 'EXTERNAL_PROVIDER'
    union all
    select n.subject, n.has_account, n.account_created_at, n.row_created_at, s.*
    from named n
    join sign_ups s on n.row_email_key = s.email_key
    where n.is_found_by_email
),
-- Retry groups: each start at most 9 s after the previous, at most 3.
opened as (
    select
        c.*,
        case
            when lag(c.started_at) over (
                partition by c.subject, c.username, c.trigger_source
                order by c.started_at, coalesce(c.request_id, '')
            ) >= c.started_at - interval '9' second then 0
            else 1
        end as opens
    from calls c
),
chained as (
    select
        o.*,
        sum(o.opens) over (
            partition by o.subject, o.username, o.trigger_source
            order by o.started_at, coalesce(o.request_id, '')
            rows between unbounded preceding and current row
        ) as chain
    from opened o
),
numbered as (
    select
        c.*,
        row_number() over (
            partition by c.subject, c.username, c.trigger_source, c.chain
            order by c.started_at, coalesce(c.request_id, '')
        ) - 1 as number
    from chained c
),
attempts as (
    select n.*, n.number - mod(n.number, 3) as group_number, mod(n.number, 3) + 1 as attempt
    from numbered n
),
retry_groups as (
    select
        a.subject, a.username, a.trigger_source, a.chain, a.group_number, a.has_account, a.account_created_at,
        a.row_created_at,
        count(*) as attempts,
        min(a.started_at) as group_started_at,
        max(a.started_at) as last_started_at,
        max(coalesce(a.ended_at, a.started_at)) as group_ended_at,
        max(case when a.ended_at > a.started_at + interval '5' second then 1 else 0 end) as is_late,
        max(case when a.attempt = 1 then a.request_id end) as request_1,
        max(case when a.attempt = 2 then a.request_id end) as request_2,
        max(case when a.attempt = 3 then a.request_id end) as request_3
    from attempts a
    group by
        a.subject, a.username, a.trigger_source, a.chain, a.group_number, a.has_account, a.account_created_at,
        a.row_created_at
),
-- Usernames are used again after deletion: what ran long before belongs to somebody else.
-- A late write comes after its start by nature, so for a row the end of its group counts.
candidates as (
    select
        g.*,
        row_number() over (
            partition by g.subject
            order by g.group_started_at desc, g.trigger_source, g.username, g.chain desc, g.group_number desc
        ) as place
    from retry_groups g
    where
        (g.has_account and g.last_started_at >= g.account_created_at - interval '10' second)
        or (
            not g.has_account
            and (g.row_created_at is null or g.group_ended_at >= g.row_created_at - interval '10' second)
        )
),
last_attempts as (
    select
        c.subject, c.trigger_source, c.attempts, c.is_late, c.group_started_at, c.request_1, c.request_2, c.request_3,
        a.started_at, a.outcome, a.duration_ms, a.error_type, a.error_message, a.logged_error, a.email_key
    from candidates c
    join attempts a
        on c.subject = a.subject and c.username = a.username and c.trigger_source = a.trigger_source
        and c.chain = a.chain and c.group_number = a.group_number and c.attempts = a.attempt
    where c.place = 1
),
-- What earlier snapshots and the journal knew. A row last seen before the account came was somebody else's.
rows_seen as (
    select l.subject, max(s.last_seen) as last_seen
    from (
        select n.subject, n.account_created_at, n.match_key as seen_id from named n where n.has_account
        union all
        select n.subject, n.account_created_at, n.sub || '::' || n.account_id as seen_id
        from named n
        cross join terms t
        where n.has_account and t.correlation = 'owner'
    ) l
    join seen s on s.kind = 'row' and l.seen_id = s.id
    where l.account_created_at is null or s.last_seen >= l.account_created_at - interval '10' second
    group by l.subject
),
accounts_seen as (
    select n.subject, max(s.last_seen) as last_seen
    from named n
    join seen s on s.kind = 'account' and n.match_key = s.id
    left join further f on n.subject = f.subject
    where not n.has_account and f.subject is null
    group by n.subject
),
row_emails as (
    select n.subject, n.match_key, coalesce(n.row_email_key, c.email_key) as email_key
    from named n
    join last_attempts c on n.subject = c.subject
    where not n.has_account
),
email_owners as (
    select
        a.email_key, min(coalesce(a.match_key, '')) as first_key, max(coalesce(a.match_key, '')) as last_key
    from account_keys a
    where a.email_key in (select r.email_key from row_emails r where r.email_key is not null)
    group by a.email_key
),
other_accounts as (
    select r.subject
    from row_emails r
    join email_owners o on r.email_key = o.email_key
    where o.first_key <> r.match_key or o.last_key <> r.match_key
),
-- The key that the trigger used then: the fact known last at that time, else the first one known after it.
key_times as (
    select
        c.subject, c.started_at,
        coalesce(
            max(case when k.seen_at <= c.started_at then k.seen_at end),
            min(case when k.seen_at > c.started_at then k.seen_at end)
        ) as seen_at
    from last_attempts c
    cross join keys k
    where c.outcome = 'completed' and c.logged_error is null
    group by c.subject, c.started_at
),
expired_keys as (
    select c.subject, max(k.expires_at) as expired_at
    from key_times c
    join keys k on c.seen_at = k.seen_at
    group by c.subject
    having sum(case when k.expires_at < c.started_at then 0 else 1 end) = 0
),
-- A start failure names nobody: it explains an account only where no other one can be meant.
init_failures as (
    select
        i.started_at, i.request_id,
        row_number() over (order by i.started_at, coalesce(i.request_id, ''), coalesce(i.log_stream, '')) as failure
    from invocations i
    cross join terms t
    where t.logs_complete and i.outcome = 'init_error' and i.username is null and i.started_at is not null
),
waiting as (
    select n.subject, n.account_created_at, n.account_modified_at
    from named n
    left join last_attempts c on n.subject = c.subject
    left join rows_seen s on n.subject = s.subject
    where n.has_account and c.subject is null and s.subject is null
),
near_failures as (
    select w.subject, f.failure, f.started_at, f.request_id
    from waiting w
    join init_failures f
        on f.started_at >= w.account_created_at - interval '10' second
        and f.started_at <= w.account_created_at + interval '10' second
    union
    select w.subject, f.failure, f.started_at, f.request_id
    from waiting w
    join init_failures f
        on f.started_at >= w.account_modified_at - interval '10' second
        and f.started_at <= w.account_modified_at + interval '10' second
),
unclaimed_failures as (
    select f.failure from near_failures f group by f.failure having count(*) = 1
),
own_failures as (
    select f.subject, count(*) as attempts, min(f.started_at) as started_at, min(f.request_id) as request_id
    from near_failures f
    join unclaimed_failures u on f.failure = u.failure
    group by f.subject
),
causes as (
    select
        n.subject,
        case
            when n.situation = 'in_flight' then null
            when not n.has_account then
                case
                    when accounts_seen.subject is not null then 'account_deleted'
                    when c.is_late = 1 then 'late_write'
                    when c.subject is not null and other_accounts.subject is not null then 'repeat_sign_up'
                    when c.subject is not null and further.subject is null then 'sign_up_rejected'
                    else 'unknown'
                end
            when rows_seen.subject is not null then 'row_deleted'
            when c.outcome = 'error' then 'trigger_error'
            when c.outcome = 'timeout' then 'trigger_timeout'
            when c.outcome = 'oom' then 'trigger_out_of_memory'
            when c.outcome = 'exit' then 'trigger_exit'
            when c.outcome = 'init_error' then 'trigger_init_error'
            when c.outcome = 'completed' and c.logged_error is not null then 'trigger_error'
            when c.outcome = 'completed' and expired_keys.subject is not null then 'api_key_expired'
            when c.outcome = 'completed' then 'silent_failure'
            when c.subject is not null then 'trigger_incomplete'
            when not coalesce(n.account_created_at >= t.evidence_from, false) then 'logs_unavailable'
            when n.status = 'FORCE_CHANGE_PASSWORD' then 'admin_created'
            when n.status = 'RESET_REQUIRED' then 'imported'
            when n.status = 'EXTERNAL_PROVIDER' or position('"identities":' in a.attributes) > 0 then 'federated'
            when own_failures.subject is not null then 'trigger_init_error'
            else 'not_invoked'
        end as cause,
        c.trigger_source, c.attempts, c.outcome as last_outcome, c.request_1, c.request_2, c.request_3,
        c.group_started_at, c.started_at, c.duration_ms, c.error_type, c.error_message, c.logged_error,
        expired_keys.expired_at, coalesce(rows_seen.last_seen, accounts_seen.last_seen) as last_seen,
        own_failures.attempts as failures, own_failures.started_at as failed_at,
        own_failures.request_id as failed_request
    from named n
    cross join terms t
    left join accounts a on n.account_id = a.username
    left join last_attempts c on n.subject = c.subject
    left join rows_seen on n.subject = rows_seen.subject
    left join accounts_seen on n.subject = accounts_seen.subject
    left join other_accounts on n.subject = other_accounts.subject
    left join further on n.subject = further.subject
    left join expired_keys on n.subject = expired_keys.subject
    left join own_failures on n.subject = own_failures.subject
    where n.situation <> 'in_flight'
),
explained as (
    select
        c.subject, c.cause, c.trigger_source, c.request_2, c.request_3, c.duration_ms, c.error_type, c.error_message,
        c.logged_error, c.expired_at, c.last_seen,
        coalesce(c.attempts, case when c.cause = 'trigger_init_error' then c.failures end) as attempts,
        coalesce(c.last_outcome, case when c.cause = 'trigger_init_error' then 'init_error' end) as last_outcome,
        coalesce(c.request_1, case when c.cause = 'trigger_init_error' then c.failed_request end) as request_1,
        coalesce(c.group_started_at, case when c.cause = 'trigger_init_error' then c.failed_at end)
            as group_started_at,
        coalesce(c.started_at, case when c.cause = 'trigger_init_error' then c.failed_at end) as started_at
    from causes c
),
-- A handler that also runs when a password is reset and puts without a condition writes the row anew.
resets as (
    select
        j.subject, i.trigger_source, i.outcome, i.request_id, i.started_at,
        row_number() over (
            partition by j.subject order by i.started_at desc, coalesce(i.request_id, '')
        ) as place
    from judged j
    join invocations i on j.account_id = i.username
    where
        i.trigger_source = 'PostConfirmation_ConfirmForgotPassword'
        and j.has_row
        and not j.is_deleted
        and j.row_created_at > j.account_created_at + interval '60' second
        and j.row_created_at >= i.started_at - interval '1' second
        and j.row_created_at <= coalesce(i.ended_at, i.started_at + interval '30' second) + interval '1' second
)
select
    j.situation,
    e.cause,
    case
        when e.cause in ('logs_unavailable', 'unknown') then 'unknown'
        when e.cause in ('api_key_expired', 'admin_created', 'imported', 'federated', 'trigger_init_error')
            then 'inferred'
        when e.cause is not null then 'observed'
    end as evidence,
    j.account_id, j.sub, j.row_id, j.email, j.row_email, j.status, j.enabled, j.provider, j.account_created_at,
    j.row_created_at,
    coalesce(e.trigger_source, r.trigger_source) as trigger_source,
    coalesce(e.attempts, case when r.subject is not null then 1 end) as attempts,
    coalesce(e.last_outcome, r.outcome) as last_outcome,
    t.twins,
    coalesce(j.has_account and j.has_row and j.email_key = j.row_email_key and j.email <> j.row_email, false)
        as also_case_only,
    j.notes,
    case j.situation
        when 'orphaned_account' then case when e.cause <> 'row_deleted' then 'create_row' end
        when 'drift' then 'update_row'
        when 'tombstone' then 'revive_row'
        when 'unversioned_row' then 'stamp_row'
    end as suggested_action,
    coalesce(e.request_1, r.request_id) as request_1, e.request_2, e.request_3,
    e.group_started_at, coalesce(e.started_at, r.started_at) as started_at, e.duration_ms, e.error_type,
    e.error_message, e.logged_error, e.expired_at, e.last_seen, f.holder, f.held_row,
    coalesce(r.subject is not null, false) as is_overwritten,
    j.situation = 'malformed_row' and j.row_match_key is null as is_unmatched
from judged j
left join explained e on j.subject = e.subject
left join twins t on j.subject = t.subject
left join further f on j.subject = f.subject
left join resets r on j.subject = r.subject and r.place = 1
where j.situation is not null
union all
select
    'duplicate', null, null,
    null, null, null, d.email_key, null, null, null, null, null,
    null,
    null, null, null,
    d.twins,
    false,
    null,
    null,
    null, null, null,
    null, null, null, null,
    null, null, null, null, null, null,
    false,
    false
from duplicates d

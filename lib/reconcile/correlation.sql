-- How many keys of living rows each way of matching finds among the accounts: one statement for any engine.
--
-- Relations: accounts and rows as in the contract. One line per way: way, matched.
with living as (
    select r.id, r.owner, r.email_key from rows r where not coalesce(r.deleted, false)
),
-- As rows are paired by owner: either form means the same account.
owned as (
    select coalesce(o.username, r.owner) as match_key
    from living r
    left join accounts o on r.owner = o.sub || '::' || o.username
)
select 'username' as way, count(distinct r.id) as matched
from living r join accounts a on r.id = a.username
union all
select 'sub' as way, count(distinct r.id) as matched
from living r join accounts a on r.id = a.sub
union all
select 'owner' as way, count(distinct o.match_key) as matched
from owned o join accounts a on o.match_key = a.username
union all
select 'owner_sub_username' as way, count(distinct r.owner) as matched
from living r join accounts a on r.owner = a.sub || '::' || a.username
union all
select 'owner_username' as way, count(distinct r.owner) as matched
from living r join accounts a on r.owner = a.username
union all
select 'email' as way, count(distinct r.email_key) as matched
from living r join accounts a on r.email_key = a.email_key

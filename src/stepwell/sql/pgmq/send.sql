-- SEND: messages into a plain queue, at once or later. Answers with their ids, in the order given.

create or replace function pgmq.send(queue_name text, msg jsonb) returns setof bigint
language sql set search_path = pg_catalog, pg_temp as $$
  select pgmq.insert_messages(queue_name, array[msg], null, null);
$$;

create or replace function pgmq.send(queue_name text, msg jsonb, headers jsonb) returns setof bigint
language sql set search_path = pg_catalog, pg_temp as $$
  select pgmq.insert_messages(queue_name, array[msg], array[headers], null);
$$;

create or replace function pgmq.send(queue_name text, msg jsonb, delay int) returns setof bigint
language sql set search_path = pg_catalog, pg_temp as $$
  select pgmq.insert_messages(queue_name, array[msg], null, pgmq.after(delay));
$$;

create or replace function pgmq.send(queue_name text, msg jsonb, delay timestamptz) returns setof bigint
language sql set search_path = pg_catalog, pg_temp as $$
  select pgmq.insert_messages(queue_name, array[msg], null, delay);
$$;

create or replace function pgmq.send(queue_name text, msg jsonb, headers jsonb, delay int) returns setof bigint
language sql set search_path = pg_catalog, pg_temp as $$
  select pgmq.insert_messages(queue_name, array[msg], array[headers], pgmq.after(delay));
$$;

create or replace function pgmq.send(queue_name text, msg jsonb, headers jsonb, delay timestamptz) returns setof bigint
language sql set search_path = pg_catalog, pg_temp as $$
  select pgmq.insert_messages(queue_name, array[msg], array[headers], delay);
$$;

create or replace function pgmq.send_batch(queue_name text, msgs jsonb[]) returns setof bigint
language sql set search_path = pg_catalog, pg_temp as $$
  select pgmq.insert_messages(queue_name, msgs, null, null);
$$;

create or replace function pgmq.send_batch(queue_name text, msgs jsonb[], headers jsonb[]) returns setof bigint
language sql set search_path = pg_catalog, pg_temp as $$
  select pgmq.insert_messages(queue_name, msgs, headers, null);
$$;

create or replace function pgmq.send_batch(queue_name text, msgs jsonb[], delay int) returns setof bigint
language sql set search_path = pg_catalog, pg_temp as $$
  select pgmq.insert_messages(queue_name, msgs, null, pgmq.after(delay));
$$;

create or replace function pgmq.send_batch(queue_name text, msgs jsonb[], delay timestamptz) returns setof bigint
language sql set search_path = pg_catalog, pg_temp as $$
  select pgmq.insert_messages(queue_name, msgs, null, delay);
$$;

create or replace function pgmq.send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay int) returns setof bigint
language sql set search_path = pg_catalog, pg_temp as $$
  select pgmq.insert_messages(queue_name, msgs, headers, pgmq.after(delay));
$$;

create or replace function pgmq.send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay timestamptz) returns setof bigint
language sql set search_path = pg_catalog, pg_temp as $$
  select pgmq.insert_messages(queue_name, msgs, headers, delay);
$$;

create or replace function pgmq.after(seconds int) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select pgflow.now() + make_interval(secs => seconds);
$$;

-- Visible from `visible_at` on; null: at once.
create or replace function pgmq.insert_messages(name text, msgs jsonb[], headers jsonb[], visible_at timestamptz)
returns setof bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  queue constant pgmq.meta := pgmq.plain_queue(name, 'send to', 'Start a run: pgflow.start_flow().');
  at constant timestamptz := pgflow.now();
begin
  if cardinality(headers) <> cardinality(msgs) then
    perform pgflow.raise('PF422', format('%s messages and %s headers: each message has its own, or none has any',
      cardinality(msgs), cardinality(headers)));
  end if;
  return query execute format($sql$
    insert into pgmq.%I (enqueued_at, vt, message, headers)
    select $1, $2, m.msg, m.header from unnest($3, $4) with ordinality m (msg, header, place) order by m.place
    returning msg_id
  $sql$, pgmq.format_table_name(name, 'q')) using at, coalesce(visible_at, at), msgs, headers;
end
$$;

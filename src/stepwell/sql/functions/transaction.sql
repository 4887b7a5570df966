-- TRANSACTION: an outcome that commits together with what its handler wrote.
--
-- Locks: those of commit_tasks, or the message, and they come last: whatever the handler has locked in its own tables is held
-- already. The engine locks none of those, so no circle closes through it.

-- The transaction must be the one that its worker began. It left the claim in it; where that is gone, the handler has ended the
-- transaction by itself, and this is another one. From now on this holds what others wait for, so the commit must come soon.
create or replace function pgflow.check_transaction(claim bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if coalesce(current_setting('pgflow.claim', true), '') <> claim::text then
    perform pgflow.raise('PF412', 'the handler has ended its transaction by itself, with a commit or a rollback of its own',
      'What it committed stays. The worker commits what a transactional handler wrote, with its outcome; use a savepoint to undo a part');
  end if;
  if current_setting('transaction_isolation') <> 'read committed' then
    perform pgflow.raise('PF412', format('the handler''s transaction is %s', current_setting('transaction_isolation')),
      'Leave its isolation level at read committed, where outcomes are written, and lock the rows that must not change');
  end if;
  perform set_config('idle_in_transaction_session_timeout', '10s', true);
end
$$;

-- The outcome of one task, inside the transaction that its handler wrote in. A 'stale' outcome is not written: roll back. Until
-- the commit comes this holds the run.
create or replace function pgflow.commit_transactional(
  worker uuid, message_id bigint, token bigint, outcome text, output jsonb,
  error_type text default null, error_message text default null, traceback text default null
) returns table (verdict text, queue text)
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = 0 as $$
begin
  perform pgflow.check_transaction(token);
  return query select c.verdict, c.queue from pgflow.commit_tasks(worker, array[message_id], array[token], array[outcome],
    array[output], array[error_type], array[error_message], array[traceback]) c;
end
$$;

-- Archive one message, inside the transaction that its handler wrote in. False: it is no longer that reader's, or gone, and
-- nothing is done about it: roll back. Until the commit comes this holds the message.
create or replace function pgflow.archive_transactional(queue text, msg_id bigint, read_ct int) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = 0 as $$
begin
  perform pgflow.check_transaction(msg_id);
  return pgflow.close_messages(queue, array[msg_id], array[read_ct], array['archived'], array[0],
    array[null::text], array[null::text], array[null::text]) = '{}';
end
$$;

Feature: A scenario's nodes may be ours, of a cluster that runs already, or of several places

  Whose a node is decides what may be done to it, not what it may be asked: the phrases are the
  same. Each node of others is as if on a host of its own.

  Rule: Nodes of others are asked and written to as ours are

    @smoke
    Scenario: External nodes only
      Given 3 nodes that somebody else runs
      And the nodes that somebody else runs are external nodes of this scenario
      When the nodes are ready
      Then the nodes agree on a leader within 15 seconds
      And THEIRS_1 is borrowed
      When I write 20 keys
      Then every node has every acknowledged write within 10 seconds
      And a linearizable read of every acknowledged key gives its value
      And the nodes that somebody else runs never noticed

    Scenario: A cluster that a listing describes
      Given 3 nodes that somebody else runs
      And the nodes that somebody else runs are attached through "static"
      When the nodes are ready
      Then the nodes agree on a leader within 15 seconds
      And THEIRS_3 is borrowed
      When I write 20 keys
      Then no acknowledged write is lost
      And the nodes that somebody else runs never noticed

    Scenario: Nodes of ours only
      Given a cluster of 3 nodes
      Then NODE_1 is owned
      And the nodes agree on a leader within 15 seconds

  Rule: A node of ours may be in the cluster of others

    Scenario: It joins, votes, is restarted, and leaves theirs as they were
      Given 3 nodes that somebody else runs
      And the nodes that somebody else runs are external nodes of this scenario
      And a cluster of 1 node
      Then NODE_1 is owned
      And THEIRS_1 is borrowed
      When I add NODE_1 to the voters
      Then 4 nodes have a vote within 15 seconds
      When I write 20 keys
      And I restart NODE_1
      Then NODE_1 has caught up within 15 seconds
      And no acknowledged write is lost
      And the nodes that somebody else runs never noticed

  Rule: Settings name what features should not have to

    Scenario: A node of trellis.toml is listed by its name alone
      Given 1 node that somebody else runs
      And the harness finds the file "trellis.toml":
        """
        [nodes.LAB_1]
        url = "env(THEIRS_1_URL)"
        """
      When I run the harness on this feature:
        """
        Feature: Settings
          Scenario: A node of the lab
            Given external nodes:
              | node  |
              | LAB_1 |
            When the nodes are ready
            Then LAB_1 is borrowed
        """
      Then the exit code is 0

    Scenario: A key that is nearly right is shown with its line and the right one
      Given the harness finds the file "trellis.toml":
        """
        [nodes.LAB_1]
        urll = "http://127.0.0.7:80"
        """
      When I run the harness on this feature:
        """
        Feature: Settings
          Scenario: Nothing
            Given a cluster of 1 node
        """
      Then the exit code is 2
      And it prints "trellis.toml:2"
      And it prints "unknown key nodes.LAB_1.urll"
      And it prints "did you mean url?"

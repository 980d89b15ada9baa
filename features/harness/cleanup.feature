Feature: Nothing of ours is left behind

  Rule: However a run ends, its processes, folders and ports end with it

    Scenario: After a green run
      When I run the harness on this feature:
        """
        Feature: Green
          Scenario: Three nodes
            Given a cluster of 3 nodes
            Then every node answers within 10 seconds
        """
      Then the exit code is 0
      And none of its 3 processes is left within 5 seconds
      And nothing of that run is left

    Scenario: After Ctrl-C
      When I start the harness on this feature:
        """
        Feature: Interrupted
          Scenario: Waits for what cannot be
            Given a cluster of 3 nodes
            Then 5 nodes have a vote within 60 seconds
        """
      Then it prints "5 voters" within 40 seconds
      When I interrupt the harness
      Then the harness ends within 15 seconds
      And the exit code is 130
      And none of its 3 processes is left within 5 seconds
      And nothing of that run is left

    Scenario: After kill -9 in the middle of a run, with paused nodes
      When I start the harness on this feature:
        """
        Feature: Killed
          Scenario: Waits for what cannot be
            Given a cluster of 5 nodes
            And I pause NODE_2
            And I pause NODE_4
            Then 9 nodes have a vote within 60 seconds
        """
      Then it prints "9 voters" within 40 seconds
      When I kill the harness
      Then none of its 5 processes is left within 10 seconds
      When I run trellis clean
      Then nothing of that run is left
